#!/bin/sh
# Lies on a card's boot partition, in the folder edgekit; run at each first boot, and again after one that was cut.
# Installs the unit that installs the application; once that is done, nothing.
#
#   $1  start: start the unit too, without waiting for it
#
# EDGEKIT_ARM_ROOT stands before every path of the system's; tests set it. All is read before any of it runs (hence the
# braces).

{
main() {
    LC_ALL=C
    export LC_ALL
    root=${EDGEKIT_ARM_ROOT:-}
    unit=edgekit-first-boot.service
    [ ! -e "$root/var/lib/edgekit-first-boot/done" ] || return 0
    here=$(dirname "$0")
    forget_modules
    install_unit || {
        say "the application cannot be installed: $unit was not written to $root/etc/systemd/system;" \
            "is the system's disk full, or read-only?"
        return 1
    }
    systemctl daemon-reload || say "systemctl daemon-reload failed; $unit starts at the next boot"
    [ "${1:-}" != start ] || systemctl start --no-block "$unit" || {
        say "$unit cannot be started; it starts at the next boot"
        return 1
    }
}

say() {
    echo "edgekit: $*" >&2
}

# cloud-init writes down that a module was run before it runs it: after a cut it would leave the user without a key. The
# names are its modules' with _ for - (22.4 to 25.1). Host keys that are there stay: a board must not change its own at
# each boot.
forget_modules() {
    for module in set_hostname users_groups set_passwords timezone locale; do
        rm -f "$root/var/lib/cloud/instance/sem/config_$module"
    done
    [ -s "$root/etc/ssh/ssh_host_ed25519_key" ] && [ -s "$root/etc/ssh/ssh_host_ed25519_key.pub" ] ||
        rm -f "$root/var/lib/cloud/instance/sem/config_ssh"
}

# Whole or not at all, whenever it is cut: beside, to the disk, renamed; and wanted only after it is there.
install_unit() {
    from=$here/$unit
    units=$root/etc/systemd/system
    wanted=$units/multi-user.target.wants
    [ -s "$from" ] && mkdir -p "$wanted" || return
    if ! cmp -s "$from" "$units/$unit"; then
        cp "$from" "$units/.$unit.new" && chmod 644 "$units/.$unit.new" && cmp -s "$from" "$units/.$unit.new" &&
            sync && mv -f "$units/.$unit.new" "$units/$unit" || {
            rm -f "$units/.$unit.new"
            return 1
        }
    fi
    if [ "$(readlink "$wanted/$unit")" != "../$unit" ]; then
        rm -f "$wanted/$unit" && ln -s "../$unit" "$wanted/$unit" || return
    fi
    sync
}

main "$@"
exit
}
