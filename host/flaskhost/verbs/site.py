"""`flaskhost site`: how visitors reach the application: Nginx and the certificate."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, Dict, Iterable, List, Optional, Tuple

from flaskhost import layout, locks, manifest, nginx, systemd
from flaskhost.document import Document
from flaskhost.files import directory, link, own, remove, write
from flaskhost.progress import Progress
from flaskhost.shell import Failure, run, succeeds
from flaskhost.takeover import is_ours

CATCH_ALL = ("flaskhost-default", "flaskhost-default-tls")
NAMES = "/etc/nginx/conf.d/flaskhost-names.conf"
ROOM = re.compile(r"^\s*server_names_hash_bucket_size\s", re.MULTILINE)
CERTIFICATE_DAYS = 825
RENEW_SECONDS = 30 * 24 * 3600
# ` in FILE:LINE` at the end of what Nginx says of a file.
NAMED = re.compile(r" in (/\S+:[0-9]+)")
TLS = re.compile(r"^\s*listen\s[^;#]*\b443\b", re.MULTILINE)
LISTEN = re.compile(r"^\s*listen (?:\[::\]:)?([0-9]+)", re.MULTILINE)
HOLDER = re.compile(r'users:\(\("([^"]+)",pid=([0-9]+)')
SERVER_NAME = re.compile(r"^\s*server_name\s([^;#]*);", re.MULTILINE)


def site(asked: Document, progress: Progress) -> Dict[str, Any]:
    """Install the site, checked by `nginx -t` first. Input: https, domains, and the files below /etc/nginx."""
    paths = layout.known(asked.app)
    with locks.host(paths, f"site of {asked.app}", progress):
        _free_ports(asked.files)
        _free_names(paths, asked["domains"])
        installed = nginx.version()
        wanted = {name: nginx.worded(text, installed) for name, text in asked.files.items()}
        files = {name: text for name, text in wanted.items() if name != NAMES or not _names_have_room(paths)}
        # Stands there from the first change until Nginx has loaded it: a killed try is made up for, and what it had
        # found is what a refused configuration goes back to. A reboot loads the files, and empties this folder.
        pending = paths.state / "site.pending"
        before = _before(paths, list(files))
        changed = pending.exists()
        if changed:
            before.update(json.loads(pending.read_text()))
        write(pending, json.dumps(before), mode=0o600)
        made = asked["https"] and _certificate(paths.etc / "tls", asked["domains"])
        # For names that no site claims; all applications of the host share it.
        made = _certificate(paths.at("/etc/flaskhost/tls"), ["invalid"]) or made
        if made:
            progress.say("certificate: made a self-signed one")
        _logs(paths)
        default = paths.at("/etc/nginx/sites-enabled/default")
        welcome = os.readlink(default) if default.is_symlink() else None
        try:
            changed = _write(paths, files) or changed
            # Debian's welcome page answers for any name that no site claims.
            remove(default if welcome else None)
            changed = catch_all(paths) or changed
            run(["nginx", "-t", "-q"])
        except Failure as failure:
            _put_back(paths, before)
            if welcome:
                link(default, welcome)
            # As it goes with the files before, or Nginx could not start again.
            catch_all(paths)
            remove(pending)
            raise Failure(_refused(failure)) from None
        changed = bool(changed or made or welcome)
        _load(changed=changed)
        remove(pending)
        progress.say("nginx: configuration checked and loaded" if changed else "nginx: nothing to change")
        manifest.remember(paths, "site", files=_managed(paths, files), units={"nginx.service": ["enabled", "active"]})
    return {"changed": changed}


def _managed(paths: layout.Layout, names: Iterable[str]) -> List[Path]:
    """Return the files of the site and what enables it; the sites of nobody's names depend on other applications."""
    own = [name for name in names if Path(name).name not in CATCH_ALL]
    enabled = f"/etc/nginx/sites-enabled/{paths.app}"
    return [paths.at(name) for name in (*own, enabled)]


def _refused(failure: Failure) -> str:
    """Return what to tell of a configuration that Nginx refused, now that the files before are back."""
    return (
        refused("run `pulumi up` again. The site was not changed")
        or f"Nginx refuses the configuration, the one before is back and serves:\n{failure}"
    )


def refused(then: str) -> str:
    """Return what to tell where Nginx refuses what is not of this site; nothing where it is content.

    Args:
        then: what to do when it is corrected, and what was changed.
    """
    test = run(["nginx", "-t", "-q"], check=False)
    if not test.returncode:
        return ""
    at = NAMED.search(test.stdout)
    return (
        f"Nginx refuses its configuration because of {at.group(1) if at else 'a file'}, which is not of this site: "
        f"correct it until `nginx -t` is content, and {then}, and Nginx serves what it has loaded before:\n"
        f"{test.stdout.rstrip()}"
    )


def _free_ports(files: Dict[str, str]) -> None:
    """See that nobody else listens where Nginx shall: it would go on with what it had, and say so in its log only.

    Raises:
        Failure: somebody does; nothing was changed.
    """
    wanted = {port for name, text in files.items() if Path(name).name not in CATCH_ALL for port in LISTEN.findall(text)}
    # State, two queues, local address and port, peer, processes (ss(8)).
    for words in map(str.split, run(["ss", "-Hltnp"], check=False).stdout.splitlines()):
        holder = HOLDER.search(words[-1]) if len(words) > 5 and words[0] == "LISTEN" else None
        port = words[3].rpartition(":")[2] if holder else ""
        if holder and port in wanted and holder.group(1) != "nginx":
            name, pid = holder.groups()
            raise Failure(
                f"port {port} of this host is in use by {name} (pid {pid}), and Nginx needs it: end that program (a "
                f"service: `systemctl disable --now {name}`), and run `pulumi up` again. Nothing was changed"
            )


def _free_names(paths: layout.Layout, domains: List[str]) -> None:
    """See that no other site of the host claims a name of this one: Nginx would only warn, and leave one of them out.

    Raises:
        Failure: another one does; nothing was changed.
    """
    for path, at in _enabled(paths):
        if path.name in (paths.app, "default", *CATCH_ALL) or not at.is_file():
            continue
        text = at.read_text(errors="replace")
        names = {name for words in SERVER_NAME.findall(text) for name in words.split()}
        both = sorted(names.intersection(domains))
        if both:
            raise Failure(
                f"flaskhost:web.domains: {', '.join(both)} is the name of another site of this host ({path}): take it "
                "out there, or choose another one. Nothing was changed"
            )
        if not domains and is_ours(at) and "default_server" in text:
            raise Failure(
                f"flaskhost:web.domains: must be given, since the application {path.name!r} of this host answers for "
                "every name (got nothing): name the domains of one of the two. Nothing was changed"
            )


def _enabled(paths: layout.Layout) -> List[Tuple[Path, Path]]:
    """Return what is in the folder of enabled sites, each with the file that it leads to."""
    folder = paths.at("/etc/nginx/sites-enabled")
    leads = [(path, os.readlink(path) if path.is_symlink() else path.name) for path in sorted(folder.iterdir())]
    return [(path, paths.at(to) if os.path.isabs(to) else folder / to) for path, to in leads]


def _names_have_room(paths: layout.Layout) -> bool:
    """Tell whether the host's own files say how long names may be: Nginx takes that directive once."""
    nginx = paths.at("/etc/nginx")
    found = [nginx / "nginx.conf", *nginx.glob("conf.d/*.conf"), *nginx.glob("sites-enabled/*")]
    others = [path for path in found if path.is_file() and path != paths.at(NAMES)]
    return any(ROOM.search(path.read_text(errors="replace")) for path in others)


def _write(paths: layout.Layout, files: Dict[str, str]) -> bool:
    """Write the files and enable the sites among them; return whether anything was different before."""
    changed = False
    for name, text in files.items():
        paths.at(name).parent.mkdir(exist_ok=True)
        changed = write(paths.at(name), text) or changed
        if "/sites-available/" in name and Path(name).name not in CATCH_ALL:
            changed = link(paths.at(name.replace("/sites-available/", "/sites-enabled/")), name) or changed
    return changed


def catch_all(paths: layout.Layout) -> bool:
    """Enable the sites for names that are nobody's, unless another one claims them; return whether that changed.

    Nginx takes one default_server an address, and an application without domains of its own wants every name. The port
    of TLS may be another program's where no site wants it.
    """
    enabled = paths.at("/etc/nginx/sites-enabled")
    others = [at for path, at in _enabled(paths) if path.name not in CATCH_ALL and at.is_file()]
    texts = [at.read_text(errors="replace") for at in others]
    claimed, tls = any("default_server" in text for text in texts), any(TLS.search(text) for text in texts)
    changed = False
    for name in CATCH_ALL:
        at = enabled / name
        available = f"/etc/nginx/sites-available/{name}"
        if claimed or not paths.at(available).exists() or (name.endswith("-tls") and not tls):
            changed = at.is_symlink() or changed
            remove(at)
        else:
            changed = link(at, available) or changed
    return changed


def _logs(paths: layout.Layout) -> None:
    """Have the site's log files, which Nginx itself would make readable by every application on the host.

    Owner and mode are those that the distribution's logrotate gives to the ones after them.
    """
    for kind in ("access", "error"):
        log = paths.at(f"/var/log/nginx/{paths.app}-{kind}.log")
        if not log.exists():
            log.touch()
        own(log, mode=0o640, owner="www-data", group="adm")


def _load(*, changed: bool) -> None:
    """Have Nginx running with what stands in its files, now and at boot."""
    if not systemd.is_enabled("nginx.service"):
        systemd.systemctl("enable", "--quiet", "nginx.service")
    if not systemd.is_active("nginx.service"):
        systemd.systemctl("start", "nginx.service")
    elif changed:
        systemd.systemctl("reload", "nginx.service")


def _before(paths: layout.Layout, names: List[str]) -> Dict[str, Optional[str]]:
    """Return what stands in the files now (None: nothing).

    Raises:
        Failure: one of them is somebody else's.
    """
    found: Dict[str, Optional[str]] = {}
    for name in names:
        path = paths.at(name)
        found[name] = path.read_text() if path.exists() else None
        if path.exists() and not is_ours(path):
            raise Failure(f"{path} was not made by flaskhost: move it away, or choose another flaskhost:app.name")
    return found


def _put_back(paths: layout.Layout, before: Dict[str, Optional[str]]) -> None:
    for name, text in before.items():
        if text is None:
            remove(paths.at(name))
            remove(paths.at(name.replace("/sites-available/", "/sites-enabled/")))
        else:
            write(paths.at(name), text)


def _certificate(folder: Path, domains: List[str]) -> bool:
    """Have a certificate for these names in a folder; return whether one was made.

    It is self-signed: browsers warn, the connection is encrypted.
    """
    directory(folder, mode=0o700)
    key, certificate, names = folder / "key.pem", folder / "certificate.pem", folder / "names"
    wanted = "\n".join(domains) + "\n"
    if key.exists() and certificate.exists() and names.exists() and names.read_text() == wanted and _lasts(certificate):
        return False
    alternatives = ",".join(("IP:" if _is_address(name) else "DNS:") + name for name in domains or ["localhost"])
    new_key, new = folder / ".key.new", folder / ".certificate.new"
    run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-keyout", str(new_key), "-out", str(new), "-days", str(CERTIFICATE_DAYS)),
            *("-subj", f"/CN={(domains or ['localhost'])[0][:64]}", "-addext", f"subjectAltName={alternatives}"),
        ]
    )
    new_key.chmod(0o600)
    new_key.rename(key)
    new.rename(certificate)
    write(names, wanted)
    return True


def _lasts(certificate: Path) -> bool:
    return succeeds(["openssl", "x509", "-checkend", str(RENEW_SECONDS), "-noout", "-in", str(certificate)])


def _is_address(name: str) -> bool:
    return name.replace(".", "").isdigit() or ":" in name
