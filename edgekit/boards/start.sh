#!/bin/sh
# Sent to a board, where "sh -s" reads it: finds Python and the scope, and gives way to bootstrap.py.
#
#   $1  scope: auto, system, user, or local (a folder, for which nothing runs as a service)
#   $2  the root, in base64; - for the scope's own
#   $3  bootstrap.py, compressed by zlib, in base64
#
# All of it is read before any of it runs (hence the braces: what was cut does nothing), and nothing behind it is read:
# what follows is the conversation.

{
main() {
    LC_ALL=C
    export LC_ALL
    # What a login shell printed without an end of line ends here.
    echo
    python=$(find_python) || {
        echo "edgekit-session no-python ${python:-none}"
        return 1
    }
    code='import base64, sys, zlib; exec(zlib.decompress(base64.b64decode(sys.argv[1])))'
    case $1 in
    auto | system)
        if [ "$(id -u)" = 0 ]; then
            exec "$python" -I -c "$code" "$3" system "$2"
        elif sudo -n true </dev/null >/dev/null 2>&1; then
            exec sudo -n -- "$python" -I -c "$code" "$3" system "$2"
        elif [ "$1" = system ]; then
            echo "edgekit-session no-sudo $(id -un)"
            return 1
        fi
        exec "$python" -I -c "$code" "$3" user "$2"
        ;;
    *)
        exec "$python" -I -c "$code" "$3" "$1" "$2"
        ;;
    esac
}

# Prints the first Python that the installer runs on; without one, fails and prints the newest version seen. The system's
# own comes first: wheels and the camera's packages are made for it.
find_python() {
    seen=
    for name in /usr/bin/python3 python3 python3.13 python3.12 python3.11 python3.10 python3.9; do
        path=$(command -v "$name") || continue
        version=$("$path" -I -c '
import sys
print("%d.%d" % sys.version_info[:2])
sys.exit(sys.version_info < (3, 9))' </dev/null 2>/dev/null) && {
            echo "$path"
            return 0
        }
        seen=${version:-$seen}
    done
    echo "$seen"
    return 1
}

main "$@"
exit
}
