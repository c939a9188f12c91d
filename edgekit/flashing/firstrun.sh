# The rest of firstrun.sh, behind its values (edgekit/flashing/firstrun.py). Run as root by kernel-command-line.service
# at the first boot: makes the settings, arms the application, and takes the words that started it out of cmdline.txt
# and itself off the card. Cut anywhere, it is run again at the next boot, and everything in it may be done twice.
#
# A setting that fails is noted on the card, and stops neither the others nor the application. EDGEKIT_ARM_ROOT stands
# before every path of the system's; tests set it. All is read before any of it runs (hence the braces).

{
main() {
    LC_ALL=C
    export LC_ALL
    root=${EDGEKIT_ARM_ROOT:-}
    here=$(dirname "$0")
    log=$here/edgekit-firstrun.log
    cmdline=$here/cmdline.txt

    [ -z "$hostname" ] || try hostname set_hostname
    if [ -n "$user" ]; then
        try user set_user
        try "authorized keys" set_keys
        try sudo set_sudo
        try ssh set_ssh
    fi
    [ -z "$ssid_bytes" ] || try Wi-Fi set_wifi
    [ -z "$timezone" ] || try "time zone" set_timezone
    [ -z "$locale" ] || try locale set_locale

    sh "$here/edgekit/arm.sh" || carry_on "the application could not be armed"
    leave_a_tidier || carry_on "/etc/systemd/system cannot be written"
    # All of that is on the disk before the words go that would do it again.
    sync
    disarm || {
        mount -o remount,rw "$here"
        disarm || carry_on "cmdline.txt cannot be written"
    }
    vanish
}

note() {
    echo "edgekit: $*" >&2
    echo "$*" >>"$log"
}

# $1 what, then the command. Its output is nobody's business: it may say what a value was.
try() {
    what=$1
    shift
    "$@" </dev/null >/dev/null 2>&1 || note "$what: not set as asked (exit code $?)"
}

# The service that runs this has no time limit, and the board would stay as it is.
limited() {
    if command -v timeout >/dev/null 2>&1; then
        timeout 300 "$@"
    else
        "$@"
    fi
}

# $1 a file, $2 its mode; the content comes in. A dot in the name keeps it from whatever reads a folder of files.
put() {
    mkdir -p "$(dirname "$1")" && (umask 077 && cat >"$1.edgekit-new") && chmod "$2" "$1.edgekit-new" &&
        mv -f "$1.edgekit-new" "$1" || {
        rm -f "$1.edgekit-new"
        return 1
    }
}

# $1 a file that may be missing, $2 a pattern; prints the lines that do not match.
without() {
    [ ! -f "$1" ] || grep -v -e "$2" "$1" || :
}

set_hostname() {
    printf '%s\n' "$hostname" | put "$root/etc/hostname" 644 || return
    {
        without "$root/etc/hosts" '^127\.0\.1\.1[[:space:]]'
        printf '127.0.1.1\t%s\n' "$hostname"
    } | put "$root/etc/hosts" 644
}

set_user() {
    # It renames the image's own user, and ends the wizard that waits at the screen. "*" is no password's hash: without
    # one, older versions would set an empty password.
    userconf=$root/usr/lib/userconf-pi/userconf
    [ ! -x "$userconf" ] || limited "$userconf" "$user" '*'
    getent passwd "$user" || useradd -m -s /bin/bash "$user" || return
    usermod -p '*' -s /bin/bash "$user" || return
    failed=0
    for group in $groups; do
        ! getent group "$group" || usermod -a -G "$group" "$user" || failed=1
    done
    return "$failed"
}

set_keys() {
    entry=$(getent passwd "$user") || return
    owner=$(printf '%s\n' "$entry" | cut -d : -f 3,4)
    folder=$root$(printf '%s\n' "$entry" | cut -d : -f 6)/.ssh
    mkdir -p "$folder" && chmod 700 "$folder" || return
    {
        without "$folder/authorized_keys" '^$'
        printf '%s\n' "$keys" | while IFS= read -r key; do
            grep -qxF -e "$key" "$folder/authorized_keys" || printf '%s\n' "$key"
        done
    } | put "$folder/authorized_keys" 600 && chown -R "$owner" "$folder"
}

set_sudo() {
    printf '%s ALL=(ALL) NOPASSWD: ALL\n' "$user" | put "$root/etc/sudoers.d/010_edgekit-login" 440
}

set_ssh() {
    [ ! -d "$root/etc/ssh/sshd_config.d" ] ||
        echo 'PasswordAuthentication no' | put "$root/etc/ssh/sshd_config.d/10-edgekit.conf" 644 || return
    systemctl enable ssh
}

set_wifi() {
    failed=0
    wanted=$root/etc/systemd/system/multi-user.target.wants/NetworkManager.service
    if [ -d "$root/etc/NetworkManager" ]; then
        write_keyfile || failed=1
        # Radios are off until a country is set. That is done by the kernel's command line, and not by raspi-config, which
        # rewrites cmdline.txt.
        state=$root/var/lib/NetworkManager/NetworkManager.state
        if [ -f "$state" ]; then
            sed 's/^WirelessEnabled=false$/WirelessEnabled=true/' "$state" | put "$state" 600 || failed=1
        fi
    fi
    # Releases before Bookworm have NetworkManager, and do not use it.
    [ -d "$root/etc/NetworkManager" ] && { [ -e "$wanted" ] || [ -L "$wanted" ]; } || write_supplicant || failed=1
    ! command -v rfkill || rfkill unblock wifi || failed=1
    for state in "$root"/var/lib/systemd/rfkill/*:wlan; do
        [ ! -f "$state" ] || echo 0 >"$state" || failed=1
    done
    return "$failed"
}

# The name as bytes: the key file's escapes would take a backslash or a semicolon for something else.
write_keyfile() {
    put "$root/etc/NetworkManager/system-connections/edgekit-wifi.nmconnection" 600 <<END
[connection]
id=edgekit-wifi
uuid=$wifi_uuid
type=wifi

[wifi]
mode=infrastructure
ssid=$ssid_bytes

[wifi-security]
key-mgmt=wpa-psk
psk=$psk

[ipv4]
method=auto

[ipv6]
method=auto
END
}

write_supplicant() {
    put "$root/etc/wpa_supplicant/wpa_supplicant.conf" 600 <<END
country=$country
ctrl_interface=DIR=/var/run/wpa_supplicant GROUP=netdev
update_config=1
network={
	ssid=$ssid_hex
	psk=$psk
}
END
}

set_timezone() {
    [ -f "$root/usr/share/zoneinfo/$timezone" ] || return
    printf '%s\n' "$timezone" | put "$root/etc/timezone" 644 || return
    rm -f "$root/etc/localtime.edgekit-new"
    ln -s "/usr/share/zoneinfo/$timezone" "$root/etc/localtime.edgekit-new" &&
        mv -f "$root/etc/localtime.edgekit-new" "$root/etc/localtime"
}

set_locale() {
    if command -v raspi-config; then
        limited raspi-config nonint do_change_locale "$locale"
    elif command -v locale-gen; then
        {
            without "$root/etc/locale.gen" "^$locale "
            printf '%s UTF-8\n' "$locale"
        } | put "$root/etc/locale.gen" 644 && limited locale-gen || return
        {
            without "$root/etc/default/locale" '^LANG='
            printf 'LANG=%s\n' "$locale"
        } | put "$root/etc/default/locale" 644
    else
        [ "$locale" = C.UTF-8 ]
    fi
}

# Between the words and the script there is a moment, and a cut in it leaves the script, with the Wi-Fi's key, on a card
# that does not run it any more. This unit is started by a boot without the words alone; it removes that, and itself.
leave_a_tidier() {
    units=$root/etc/systemd/system
    name=edgekit-firstrun-tidy.service
    put "$units/$name" 644 <<END || return
[Unit]
Description=Removes what the first boot left on the boot partition
RequiresMountsFor=$mount

[Service]
Type=oneshot
ExecStart=/bin/rm -f $mount/firstrun.sh $units/multi-user.target.wants/$name $units/$name
END
    mkdir -p "$units/multi-user.target.wants" && ln -sf "../$name" "$units/multi-user.target.wants/$name"
}

# FAT has no journal: a file that is written anew, or renamed onto another, is for a moment neither. So cmdline.txt is
# overwritten where it lies, by as many bytes, which changes nothing but sectors of its content; and since words may
# cross from one sector to the next, by one letter first. systemd.unit goes before systemd.run, which does without (it
# is the generator's default), while without systemd.run that target would start nothing, forever. Each is flushed by the
# file's name: sync alone writes a FAT's blocks, and lets the card keep them in its cache, in any order.
disarm() {
    for word in $words_of_unit $words_of_run; do
        line=$(cat "$cmdline") || return
        case $line in
        *" $word"*)
            overwrite "${line%%" $word"*} _${word#?}${line#*" $word"}" || return
            sync "$cmdline"
            ;;
        esac
    done
    for word in $words_of_unit $words_of_run; do
        line=$(cat "$cmdline") || return
        case $line in
        *" _${word#?}"*)
            overwrite "${line%%" _${word#?}"*} $(printf "%${#word}s" '')${line#*" _${word#?}"}" || return
            ;;
        esac
    done
    sync "$cmdline"
    line=$(cat "$cmdline") || return
    case $line in
    *" systemd.run=$mount/firstrun.sh"*) return 1 ;;
    esac
}

overwrite() {
    printf '%s' "$1" 1<>"$cmdline"
}

# To reboot would come back here, and again. The system starts with the words still there, and the next boot tries anew.
carry_on() {
    note "$1; the system starts, and this is tried again at the next boot"
    sync
    systemctl start --no-block multi-user.target
    exec sleep infinity
}

# Overwritten first: a file that is removed leaves its bytes on the card.
vanish() {
    dd if=/dev/zero of="$0" bs="$(wc -c <"$0")" count=1 conv=notrunc 2>/dev/null
    sync "$0"
    rm -f "$0"
    sync
}

main
exit 0
}
