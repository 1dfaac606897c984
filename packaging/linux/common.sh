# What the scripts of both packages share.

make_user() {
    if getent passwd submitd > /dev/null; then return; fi
    if command -v systemd-sysusers > /dev/null && [ -e /usr/lib/sysusers.d/submitd.conf ]; then
        systemd-sysusers submitd.conf
    else
        useradd --system --user-group --home-dir /var/lib/submitd --no-create-home \
            --shell /usr/sbin/nologin --comment "submitd mail submission" submitd
    fi
}

make_folders() {
    install -d -m 0700 -o submitd -g submitd /var/lib/submitd
    install -d -m 0750 -o submitd -g submitd /var/log/submitd
}

has_systemd() {
    [ -d /run/systemd/system ]
}

# As the service would see it, so that a password that only root can read counts as a mistake.
is_configured() {
    setpriv --reuid=submitd --regid=submitd --init-groups /usr/sbin/submitd check > /dev/null 2>&1
}

say_how_to_begin() {
    echo "submitd is installed but not started: fill in /etc/submitd/submitd.ini, run 'submitd check' and" \
        "'submitd doctor', then 'systemctl enable --now submitd'."
}
