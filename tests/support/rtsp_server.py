"""An RTSP server with a drawn camera, run by the system's Python: GStreamer's bindings are packages of the system.

As a program it serves ``/camera`` on a free port of this machine, prints the port, and does what standard input says:
``size 320x240`` changes the running stream's size. As a module it starts that program.
"""

import os
import subprocess
import sys
from pathlib import Path

SYSTEM_PYTHON = "/usr/bin/python3"
CODECS = {
    "h264": "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=10 ! rtph264pay name=pay0 config-interval=-1",
    "mjpeg": "jpegenc ! rtpjpegpay name=pay0",
}
_CAPS = "video/x-raw,format=I420,width={},height={},framerate=30/1"
_NEEDED = (
    "import gi\n"
    "gi.require_version('Gst', '1.0'); gi.require_version('GstRtspServer', '1.0')\n"
    "from gi.repository import Gst, GstRtspServer\n"
    "Gst.init(None)\n"
    "missing = [name for name in ('x264enc', 'jpegenc', 'rtph264pay') if Gst.ElementFactory.find(name) is None]\n"
    "raise SystemExit(' '.join(missing) or 0)"
)


class RtspServer:
    """The running server. ``url`` is its stream.

    With ``login`` (USER:PASSWORD) it wants credentials, and with ``certificate`` (a PEM file that holds the key too) it
    speaks TLS, which GStreamer does with a login only.
    """

    def __init__(self, codec="h264", size=(320, 240), port=0, login="", certificate=""):
        command = [SYSTEM_PYTHON, __file__, codec, f"{size[0]}x{size[1]}", str(port), login, str(certificate)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.port = int(self._process.stdout.readline())
        self.url = f"{'rtsps' if certificate else 'rtsp'}://127.0.0.1:{self.port}/camera"

    def resize(self, width, height):
        """Change the running stream's size."""
        self._process.stdin.write(f"size {width}x{height}\n")
        self._process.stdin.flush()

    def pause(self):
        """Make it hang: connections stay open, nothing comes any more."""
        self._process.send_signal(19)  # SIGSTOP

    def kill(self):
        """End it at once."""
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *raised):
        self.kill()


def missing():
    """Return what is missing for a server here, or nothing."""
    if not Path(SYSTEM_PYTHON).exists():
        return f"no {SYSTEM_PYTHON}"
    tried = subprocess.run(
        [SYSTEM_PYTHON, "-I", "-c", _NEEDED], capture_output=True, text=True, timeout=60, check=False
    )
    return tried.stderr.strip().splitlines()[-1] if tried.returncode else ""


def serve(codec, size, port, login, certificate):
    """Serve until standard input ends."""
    import gi  # noqa: PLC0415 - the system's Python alone has it

    gi.require_version("Gst", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    from gi.repository import Gio, GLib, Gst, GstRtspServer  # noqa: PLC0415 - as above

    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_shared(True)
    current = {"size": size.split("x"), "caps": None}

    def configure(_, media):
        current["caps"] = media.get_element().get_by_name("caps")
        apply()

    def apply():
        if current["caps"] is not None:
            current["caps"].set_property("caps", Gst.Caps.from_string(_CAPS.format(*current["size"])))

    def hear(*_):
        line = sys.stdin.readline()
        if not line:
            os._exit(0)
        current["size"] = line.split()[1].split("x")
        apply()
        return True

    factory.set_launch(
        f"( videotestsrc is-live=true ! capsfilter name=caps caps={_CAPS.format(*current['size'])} ! {CODECS[codec]} )"
    )
    factory.connect("media-configure", configure)
    auth = GstRtspServer.RTSPAuth()
    if certificate:
        auth.set_tls_certificate(Gio.TlsCertificate.new_from_file(certificate))
        server.set_auth(auth)
    if login:
        user, _, password = login.partition(":")
        token = GstRtspServer.RTSPToken()
        token.set_string(GstRtspServer.RTSP_TOKEN_MEDIA_FACTORY_ROLE, "user")
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
        server.set_auth(auth)
        permissions = GstRtspServer.RTSPPermissions()
        for right in (GstRtspServer.RTSP_PERM_MEDIA_FACTORY_ACCESS, GstRtspServer.RTSP_PERM_MEDIA_FACTORY_CONSTRUCT):
            permissions.add_permission_for_role("user", right, True)  # noqa: FBT003 - its names are C's
        factory.set_permissions(permissions)
    server.get_mount_points().add_factory("/camera", factory)
    server.attach(None)
    GLib.io_add_watch(sys.stdin.fileno(), GLib.PRIORITY_DEFAULT, GLib.IO_IN | GLib.IO_HUP, hear)
    sys.stdout.write(f"{server.get_bound_port()}\n")
    sys.stdout.flush()
    GLib.MainLoop().run()


if __name__ == "__main__":
    serve(*sys.argv[1:])
