# As Photon's: bash sources this file for commands over SSH as well.
if [ -n "$SSH_CONNECTION" ] && [ -z "$PROFILEREAD" ]; then . /etc/profile >/dev/null 2>&1; fi
