"""Programs that stand for those of a server: each notes how it was called, and keeps as much state as verbs look at.

`systemctl` knows which units are active and enabled, `systemd-run` runs what it is given (in the background and
without its caller, where it is a unit of its own), `dpkg-query` and `apt-get` know packages, `getent` and `useradd`
accounts, `blkid` and `mkfs.ext4` disks. A file of the name that a script asks for makes it behave otherwise.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SYSTEMCTL = """
[ "$1" = --no-ask-password ] && shift
verb=$1; shift
case $verb in
is-active) [ -e "$FAKES/active/$2" ] ;;
is-enabled) [ -e "$FAKES/enabled/$2" ] ;;
show)
    for unit; do
        case $unit in -*) continue ;; esac
        {
            echo "Id=$unit"
            if [ -e "$FAKES/active/$unit" ]; then echo ActiveState=active; echo SubState=running
            else echo ActiveState=inactive; echo SubState=dead; fi
            if [ -e "$FAKES/enabled/$unit" ]; then echo UnitFileState=enabled; fi
            if [ -e "$FAKES/facts/$unit" ]; then cat "$FAKES/facts/$unit"; else echo NRestarts=0; fi
        } | while read -r line; do
            case " $* " in *" --property=${line%%=*} "*) echo "$line" ;; esac
        done
        echo
    done ;;
start|restart) for unit; do case $unit in -*) ;; *) : > "$FAKES/active/$unit" ;; esac; done ;;
stop) for unit; do case $unit in -*) ;; *) rm -f "$FAKES/active/$unit" ;; esac; done ;;
enable) for unit; do case $unit in -*) ;; *) : > "$FAKES/enabled/$unit" ;; esac; done ;;
disable) for unit; do case $unit in -*) ;; *) rm -f "$FAKES/enabled/$unit" ;; esac; done ;;
esac
"""
SYSTEMD_RUN = """
import os, re, subprocess, sys, time
at = sys.argv.index("--")
options, words = sys.argv[1:at], sys.argv[at + 1:]
found = dict(one.split("=", 1) for one in options if "=" in one)
variables = dict(one.split("=", 2)[1:] for one in options if one.startswith("--setenv="))
settings = dict(one.split("=", 2)[1:] for one in options if one.startswith("--property="))
environment = {**os.environ, **variables}
# systemd.service(5), "Command lines": ${NAME} is replaced and $$ is a dollar, in all words but the first
replaced = lambda m: "$" if m[0] == "$$" else environment.get(m[1], "")
words = words[:1] + [re.sub(r"\\$\\$|\\$\\{(\\w+)\\}", replaced, word) for word in words[1:]]
if "--pipe" in options:
    sys.exit(subprocess.run(words, env=environment, cwd=settings["WorkingDirectory"]).returncode)
unit = os.environ["FAKES"] + "/active/" + found["--unit"]
if os.path.exists(os.environ["FAKES"] + "/slow-start"):
    time.sleep(0.3)
open(unit, "x").close()
script = 'echo $$ > "$0"; "$@" > /dev/null 2>&1; status=$?; rm -f "$0"; exit $status'
sys.exit(subprocess.run(["setsid", "--wait", "sh", "-c", script, unit, *words], env=environment).returncode)
"""
# The same for words without a dollar that are waited for: most calls, and a shell starts sooner than Python.
SYSTEMD_RUN_QUICKLY = """
case $* in *\\$*) ;; *--pipe*)
    for word; do
        shift
        case $word in
        --) break ;;
        --property=WorkingDirectory=*) cd "${word#*=*=}" || exit ;;
        --setenv=*) export "${word#--setenv=}" ;;
        esac
    done
    exec "$@" ;;
esac
"""
DPKG_QUERY = """
case $3 in *Version*) cat "$FAKES/versions" 2>/dev/null; exit 0 ;; esac
shift 3
for package; do
    grep -qx "$package" "$FAKES/packages" && echo "$package installed" || echo "$package not-installed"
done
"""
APT_GET = """
case " $* " in *" install "*)
    [ -e "$FAKES/apt-fails" ] && { echo "E: Unable to locate package"; exit 100; }
    for word; do case $word in -*|install) ;; *) echo "$word" >> "$FAKES/packages" ;; esac; done ;;
esac
"""
SYSTEMD_ANALYZE = """
[ "$1" = calendar ] && [ -e "$FAKES/calendar-fails" ] && { echo "Failed to parse calendar specification '$2'"; exit 1; }
cat "$FAKES/analyze" 2>/dev/null || :
"""
NGINX = """
# A text in nginx-fails is one that Nginx refuses wherever it stands.
[ -s "$FAKES/nginx-fails" ] && ! grep -rqf "$FAKES/nginx-fails" "$FLASKHOST_ROOT/etc/nginx" && exit 0
[ -e "$FAKES/nginx-fails" ] && { echo "nginx: [emerg] unknown directive in /etc/nginx/conf.d/odd.conf:7"; exit 1; }
exit 0
"""
RUNUSER = 'while [ "$1" != -- ]; do shift; done; shift; exec "$@"\n'
UV = """
for last; do :; done
case "$*" in
venv*) mkdir -p "$last/bin"; printf '#!/bin/sh\\n' > "$last/bin/python"; chmod 755 "$last/bin/python" ;;
"pip install"*)
    [ -e "$FAKES/uv-fails" ] && { echo "error: no such package"; exit 1; }
    bin=${5%/*}
    case "$*" in
    *poetry.txt) printf '#!/bin/sh\n%s' "$POETRY" > "$bin/poetry"; chmod 755 "$bin/poetry" ;;
    *)
        : > "$bin/gunicorn"; chmod 755 "$bin/gunicorn"
        printf '#!/bin/sh\n%s' "$FLASK" > "$bin/flask"; chmod 755 "$bin/flask" ;;
    esac ;;
"python find --quiet"*) exit 0 ;;
"python find"*) [ -e "$FAKES/python-$last" ] && echo "$FAKES/python-$last" || exit 2 ;;
"python install"*)
    echo "mirror: $UV_PYTHON_INSTALL_MIRROR$UV_PYTHON_DOWNLOADS_JSON_URL" >> "$FAKES/calls"
    [ -e "$FAKES/uv-fails" ] && { echo "error: no download found"; exit 1; }
    printf '#!/bin/sh\necho %s\n' "$last" > "$FAKES/python-$last"; chmod 755 "$FAKES/python-$last" ;;
esac
"""
# Flask-Migrate, where a test has a file `database`: it holds the database's revision. It knows what files in
# migrations/versions are called; `upgrade-fails` has the revision at which an upgrade stops.
FLASK = """
echo "flask $*" >> "$FAKES/calls"
[ -e "$FAKES/database" ] || { echo "flask: no such database"; exit 127; }
[ -e "$FAKES/loading-fails" ] && { echo "ImportError: no module"; exit 1; }
now=$(cat "$FAKES/database")
[ -z "$now" ] || [ -e "migrations/versions/$now.py" ] || {
    echo "Error: Can't locate revision identified by '$now'"; exit 1
}
newest=$(cd migrations/versions && ls *.py | tail -1)
case "$*" in
*--sql) echo "ALTER TABLE of $3;" ;;
"db current"*) echo "INFO  [alembic.runtime.migration] Context impl SQLiteImpl."; [ -z "$now" ] || echo "$now (head)" ;;
"db upgrade"*)
    [ -e "$FAKES/upgrade-fails" ] && {
        echo "OperationalError: the table is on fire"; cat "$FAKES/upgrade-fails" > "$FAKES/database"; exit 1
    }
    echo "${newest%.py}" > "$FAKES/database" ;;
"db downgrade"*) [ -e "$FAKES/downgrade-fails" ] && { echo "no way down"; exit 1; }; echo "$3" > "$FAKES/database" ;;
esac
"""
# poetry export: says how it was called, and writes what uv is to install.
POETRY = """
echo "poetry $*" >> "$FAKES/calls"
for word; do case $word in --output=*) echo "flask==3.0.0" > "${word#*=}" ;; esac; done
"""
# The line of an account is a test's own.
GETENT = """
case $1 in
group) [ -e "$FAKES/group-$2" ] ;;
*) cat "$FAKES/passwd-$2" 2>/dev/null || grep -qx "$2" "$FAKES/accounts" ;;
esac
"""
# A disk is a file that says what is on it: BYTES, and of a file system TYPE, LABEL and FS_BYTES, or PTTYPE. What only
# wipefs sees is TRACE.
DISK = """
for last; do :; done
[ -e "$last" ] || { echo "error: $last: No such file or directory"; exit 2; }
value() { sed -n "s/^$1=//p" "$last"; }
"""
BLKID = f'{DISK}grep -q "^[PT]*TYPE=" "$last" || exit 2; echo "DEVNAME=$last"; grep -v "BYTES=" "$last"\n'
WIPEFS = f'{DISK}echo "# offset,uuid,label,type"; [ -z "$(value TRACE)" ] || echo "0x0,,,$(value TRACE)"\n'
MKFS = f'{DISK}printf "TYPE=ext4\\nLABEL=$3\\nFS_BYTES=$(value BYTES)\\n" >> "$last"\n'
RESIZE = f'{DISK}sed -i "s/^FS_BYTES=.*/FS_BYTES=$(value BYTES)/" "$last"\n'
DUMP = f'{DISK}echo "Block count:   $(($(value FS_BYTES) / 4096))"; echo "Block size:    4096"\n'
GPG = 'cat "$FAKES/gpg" 2>/dev/null || :\n'
SCRIPTS = {
    "systemctl": SYSTEMCTL,
    "dpkg-query": DPKG_QUERY,
    "apt-get": APT_GET,
    "dpkg": "exit 0\n",
    "getent": GETENT,
    "useradd": 'for last; do :; done; echo "$last" >> "$FAKES/accounts"; rm -f "$FAKES/group-$last"\n',
    "userdel": 'rm "$FAKES/passwd-$1"\n',
    "groupdel": 'rm "$FAKES/group-$1"\n',
    "id": 'cat "$FAKES/groups-of-$2" 2>/dev/null || :\n',
    "usermod": '[ "$1" != --append ] || echo "$3" >> "$FAKES/groups-of-$4"\n',
    "gpasswd": 'sed -i "/^$3$/d" "$FAKES/groups-of-$2"\n',
    "ss": 'cat "$FAKES/ss" 2>/dev/null || :\n',
    "nginx": NGINX,
    "runuser": RUNUSER,
    "systemd-analyze": SYSTEMD_ANALYZE,
    "journalctl": 'cat "$FAKES/journal" 2>/dev/null || :\n',
    "uv": f"POETRY='{POETRY}'\nFLASK=$(cat <<'EOF'\n{FLASK}\nEOF\n)\n{UV}",
    "gpg": GPG,
    "blkid": BLKID,
    "wipefs": WIPEFS,
    "mkfs.ext4": MKFS,
    "resize2fs": RESIZE,
    "dumpe2fs": DUMP,
    "e2fsck": 'exit $(cat "$FAKES/e2fsck" 2>/dev/null || echo 0)\n',
    "blockdev": f"{DISK}value BYTES\n",
    "udevadm": 'cat "$FAKES/udevadm" 2>/dev/null | sh || :\n',
}
NOTE = '#!/bin/sh\nprintf "%s\\n" "${0##*/} $*" >> "$FAKES/calls"\n'


def install(folder: Path) -> None:
    """Put all programs into `folder/bin`, with the state that they need beside it."""
    for name in ("bin", "active", "enabled", "facts"):
        (folder / name).mkdir(parents=True)
    for name in ("calls", "packages", "accounts"):
        (folder / name).touch()
    for name, script in SCRIPTS.items():
        (folder / "bin" / name).write_text(NOTE + script)
        (folder / "bin" / name).chmod(0o755)
    (folder / "bin" / "systemd-run.py").write_text(SYSTEMD_RUN)
    start = f'exec {sys.executable} -IS "$0.py" "$@"\n'
    (folder / "bin" / "systemd-run").write_text(NOTE + SYSTEMD_RUN_QUICKLY + start)
    (folder / "bin" / "systemd-run").chmod(0o755)
