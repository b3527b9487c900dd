"""What a single value may look like: one rule a kind of value, each with the sentence that repairs it.

A rule is narrow where the value ends up in a unit, an Nginx file or a path, because what cannot be written cannot
break out; it is wide where rendering keeps any text exactly (environment values, commands).
"""

from __future__ import annotations

import ast
import base64
import binascii
import ipaddress
import re
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from pydantic import AfterValidator, BeforeValidator
from pydantic_core import PydanticCustomError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def _words(text: str) -> frozenset[str]:
    """Return the words of a list that reads as text."""
    return frozenset(text.split())


HOST_KEYS = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521")
"""Kinds of SSH host keys that pulumi-command can pin: for RSA it offers only ssh-rsa, which today's hosts refuse."""

KINDS_OF_REPOSITORY = "a path, https://…, ssh://…, user@host:path, file://… or example:NAME"

LARGEST_EXACT_NUMBER = 2**53
"""Pulumi hands numbers over as JSON doubles: a larger whole number has already lost digits."""

HOST_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
"""One part of a host's name (RFC 1123)."""

_LAST_OF_PLANES = "".join(chr(plane << 16 | end) for plane in range(17) for end in (0xFFFE, 0xFFFF))
NOT_UNICODE = re.compile(f"[\ud800-\udfff\ufdd0-\ufdef{_LAST_OF_PLANES}]")
"""Surrogates and noncharacters (The Unicode Standard, section 23.7)."""

LONGEST_NAME = 200
"""Characters of the name of an environment variable."""

LONGEST_ENVIRONMENT = 96 * 1024
"""Bytes of all entries together. Pulumi hands all settings to the program in one variable, as JSON, and on Linux one
variable has at most 128 KiB (MAX_ARG_STRLEN): beyond that no program starts, and the engine says `argument list too
long`. What is between the two is for other settings, and for the backslashes of JSON."""

DATABASE_URLS = ("DATABASE_URL", "SQLALCHEMY_DATABASE_URI")
"""Variables that name the database of an application, the first that is there before the others."""

LONGEST_COMMAND = 4096
"""Characters of a command; a longer one belongs into a script of the application."""

# Users and groups that Debian and Ubuntu bring or that usual packages make, units of the base system whose name an
# umbrella unit would shadow, folders that exist below /var/www and /srv, and words that flaskhost itself uses.
TAKEN_NAMES = _words(
    """
    root daemon bin sys sync games man lp mail news uucp proxy www-data backup list irc gnats nobody messagebus sshd
    adm tty disk kmem dialout fax voice cdrom floppy tape sudo audio dip operator src shadow utmp video sasl plugdev
    staff users nogroup input sgx kvm render crontab netdev lxd docker admin ubuntu debian syslog uuidd tcpdump
    tss landscape pollinate fwupd-refresh polkitd rtkit avahi colord ntp chrony systemd ssl-cert wheel
    nginx apache2 httpd postgres postgresql mysql mariadb redis redis-server memcached rabbitmq mongodb haproxy
    ssh cron dbus networking rsyslog apparmor ufw fail2ban unattended-upgrades udev getty rescue emergency halt poweroff
    reboot default multi-user basic network logrotate certbot snapd containerd podman postfix exim4 dovecot bind9 named
    html cgi-bin lost-found lost+found ftp git
    flaskhost gunicorn blue green active slots releases shared tls
    """
)

_NUMBER = r"[0-9]{1,4}(\.[0-9]{1,6})?"
_PART = rf"(\*|{_NUMBER}(\.\.{_NUMBER})?)(/{_NUMBER})?"
_LIST = rf"{_PART}(,{_PART})*"
_DAY = r"(?i:mon(day)?|tue(sday)?|wed(nesday)?|thu(rsday)?|fri(day)?|sat(urday)?|sun(day)?)"
_DAYS = rf"{_DAY}((,|\.\.){_DAY})*"
_DATE = rf"({_LIST}-)?{_LIST}[-~]{_LIST}"
_TIME = rf"{_LIST}:{_LIST}(:{_LIST})?"
_ZONE = r"[A-Z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*"
_WORD = "minutely|hourly|daily|weekly|monthly|quarterly|semiannually|yearly|annually"
SCHEDULE = re.compile(
    rf"(?=\S)({_WORD}|((?:^| )(?:{_DAYS}))?((?:^| )(?:{_DATE}))?((?:^| )(?:{_TIME}))?)( {_ZONE})?", re.ASCII
)
"""Form of a calendar event (systemd.time(7)): its parts in their order, each behind a blank; which days there are in a
month, say, is left to systemd."""

LONGEST_SCHEDULE = 200
"""Characters of a calendar event."""

# Names that the service manager, Gunicorn or flaskhost sets for the process; a value from outside would break socket
# activation, the virtual environment or the file that app.gunicorn describes. PYTHONPATH stays free: applications with
# a src folder need it.
RESERVED_NAMES: dict[str, str] = {
    **dict.fromkeys(
        _words(
            """
        LISTEN_FDS LISTEN_PID LISTEN_FDNAMES NOTIFY_SOCKET WATCHDOG_PID WATCHDOG_USEC INVOCATION_ID JOURNAL_STREAM
        MAINPID MANAGERPID SYSTEMD_EXEC_PID CREDENTIALS_DIRECTORY RUNTIME_DIRECTORY STATE_DIRECTORY CACHE_DIRECTORY
        LOGS_DIRECTORY CONFIGURATION_DIRECTORY MEMORY_PRESSURE_WATCH MEMORY_PRESSURE_WRITE PIDFILE
        """
        ),
        "remove it: the service manager sets it",
    ),
    **dict.fromkeys(_words("HOME USER LOGNAME SHELL"), "remove it: it follows from the application's own user"),
    **dict.fromkeys(
        _words("PATH PYTHONHOME VIRTUAL_ENV"), "remove it: it follows from the release's virtual environment"
    ),
    **dict.fromkeys(_words("GUNICORN_PID GUNICORN_FD"), "remove it: Gunicorn uses it when it replaces itself"),
    "GUNICORN_CMD_ARGS": "use app.gunicorn.settings instead: it would override the file that they make",
    "WEB_CONCURRENCY": "use app.gunicorn.workers instead",
}

WORKER_CLASSES = ("sync", "gthread", "gevent", "eventlet", "tornado")

# Settings of Gunicorn that have a place of their own here, and what it is.
OWN_GUNICORN_SETTINGS: dict[str, str] = {
    "workers": "app.gunicorn.workers",
    "threads": "app.gunicorn.threads",
    "timeout": "app.gunicorn.timeout",
    "graceful_timeout": "app.gunicorn.graceful_timeout",
    "worker_class": "app.gunicorn.worker_class",
    "raw_env": "flaskhost:env",
    "wsgi_app": "app.wsgi",
}
# Settings that would take the process away from the units of flaskhost.
REFUSED_GUNICORN_SETTINGS = _words(
    "bind backlog daemon pidfile user group umask chdir config initgroups reuse_port spew check_config print_config"
)
# Other settings that the gunicorn.conf.py of Gunicorn 20 to 23 understands and JSON can express (hooks it cannot).
# Gunicorn ignores an unknown name in that file silently, so a typing error has to be found here.
GUNICORN_SETTINGS = _words(
    """
    accesslog access_log_format ca_certs capture_output cert_reqs certfile ciphers default_proc_name
    disable_redirect_access_to_syslog dirty do_handshake_on_connect dogstatsd_tags enable_stdio_inheritance errorlog
    forwarded_allow_ips forwarder_headers header_map keepalive keyfile limit_request_field_size limit_request_fields
    limit_request_line logconfig logconfig_dict logconfig_json logger_class loglevel max_requests max_requests_jitter
    no_sendfile sendfile paste permit_obsolete_folding permit_unconventional_http_method
    permit_unconventional_http_version preload_app proc_name proxy_allow_ips proxy_protocol pythonpath
    raw_paste_global_conf reload reload_engine reload_extra_files casefold_http_method secure_scheme_headers ssl_version
    statsd_host statsd_prefix strip_header_spaces suppress_ragged_eofs syslog syslog_addr syslog_facility syslog_prefix
    tmp_upload_dir worker_connections worker_tmp_dir
    """
)


def refusal(rule: str, fix: str) -> PydanticCustomError:
    """Return the error that says which rule a value breaks and how to repair it; neither text holds the value."""
    return PydanticCustomError("flaskhost", "{rule}", {"rule": rule, "fix": fix})


def _text(value: Any) -> str:
    """Accept text only: what YAML took for a number or a date has already lost its spelling (1.10 becomes 1.1)."""
    if isinstance(value, str):
        if not is_unicode(value):
            raise refusal("must be valid Unicode text", "remove the characters that no UTF-8 file can hold")
        return value
    if isinstance(value, (bool, int, float)):
        what = "true or false" if isinstance(value, bool) else "a number"
        why = ", for 1.10 would become 1.1" if isinstance(value, float) else ""
        raise refusal(f"must be text, and YAML reads this as {what}", f"write it in quotes{why}")
    fix = 'write a text, or "" for an empty one' if value is None else "write one text, in quotes if in doubt"
    raise refusal("must be text", fix)


def is_unicode(value: str) -> bool:
    """Tell whether UTF-8 can hold the text and systemd reads it: neither surrogates nor noncharacters."""
    return not NOT_UNICODE.search(value)


def has_control_characters(value: str) -> bool:
    """Tell whether the text holds what systemd refuses in a variable: C0 and DEL, but tab and newline are fine."""
    return re.search(r"[\x00-\x08\x0b-\x1f\x7f]", value) is not None


def is_one_line(value: str) -> bool:
    """Tell whether the text is one line for every reader: no control character but tab, no Unicode line end."""
    return not has_control_characters(value) and re.search("[\n\x80-\x9f\u2028\u2029]", value) is None


def _whole_number(value: Any) -> int:
    """Accept a whole number, or its digits: `pulumi config set` stores text unless --path is given."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"-?(0|[1-9][0-9]{0,9})", value):
        return int(value)
    raise refusal("must be a whole number", "write digits only, or leave it out for the default")


def _digits(value: Any) -> Any:
    """Return a whole number as text: a size of 1024 is a size without a unit."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _yes_or_no(value: Any) -> bool:
    """Accept true and false, and their spelling as text, which the command line of Pulumi may store."""
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return bool(value == "true")
    raise refusal("must be true or false", "write true or false")


def within(least: int, most: int, unit: str = "") -> AfterValidator:
    """Return the check of a whole number between two bounds, both included."""

    def check(value: int) -> int:
        if not least <= value <= most:
            of = f" {unit}" if unit else ""
            raise refusal(f"must be from {least} to {most}{of}", f"choose a whole number from {least} to {most}")
        return value

    return AfterValidator(check)


def matching(pattern: str, rule: str, fix: str, longest: int = 200) -> Callable[[str], str]:
    """Return a check that a text matches a pattern as a whole and is not longer than so many characters."""
    compiled = re.compile(pattern, re.ASCII)

    def check(value: str) -> str:
        if len(value) > longest:
            raise refusal(f"must have at most {longest} characters", "shorten it")
        if not compiled.fullmatch(value):
            raise refusal(rule, fix)
        return value

    return check


def application_name(value: str) -> str:
    """Check the name that becomes a Linux user, a folder and a unit: useradd's rules, without what exists already."""
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,30}", value) or value.endswith("-"):
        raise refusal(
            "must start with a letter, hold only a-z, 0-9 and -, not end in -, and have at most 31 characters",
            "write a name such as guestbook",
        )
    if value in TAKEN_NAMES or value.startswith(("systemd-", "flaskhost-")) or f"{value}-".find("-gunicorn-") > 0:
        other = f"my-{value}" if value.startswith(("systemd-", "flaskhost-")) else f"{value}-app"
        raise refusal("is a name that the system or flaskhost uses", f"choose another one, such as {other[:31]}")
    return value


def environment_name(value: str) -> str:
    """Check the name of an environment variable as POSIX shells and systemd accept it."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value) or len(value) > LONGEST_NAME:
        likely = re.sub(r"[^A-Za-z0-9_]+", "_", value).strip("_")
        fits = re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,60}", likely)
        raise refusal(
            f"must be letters, digits and _, not start with a digit, and have at most {LONGEST_NAME} characters",
            f"rename it, for example to {likely if fits else 'DATABASE_URL'}",
        )
    if value.startswith("FLASKHOST_"):
        raise refusal("is a name that flaskhost sets itself", "rename it")
    if value in RESERVED_NAMES:
        raise refusal("is a name that belongs to the host", RESERVED_NAMES[value])
    return value


def environment_value(value: Any) -> str:
    """Accept any text that systemd passes on unchanged: no control characters but tab and newline."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < LARGEST_EXACT_NUMBER:
        # `pulumi config set --path flaskhost:env.PORT 80` stores a number; a whole number has one usual spelling.
        return str(value)
    text = _text(value)
    if has_control_characters(text):
        raise refusal(
            "must not hold control characters other than tab and newline: systemd refuses them",
            "encode it, for example with base64, and decode it in the application",
        )
    return text


def domain(value: str) -> str:
    """Check a host name as DNS and Nginx's server_name take it: lower case, ASCII, `*.` at the front at most."""
    name = value.removeprefix("*.")
    try:
        ipaddress.IPv4Address(value)
    except ValueError:
        pass
    else:
        return value
    if not value.isascii():
        try:
            likely = value.lower().encode("idna").decode()
        except UnicodeError:
            likely = ""
        fix = f"write it as {likely}" if is_plain(likely) else "write its IDNA form, such as xn--mller-kva.example"
        raise refusal("must be in its IDNA form", fix)
    if value != value.lower():
        raise refusal("must be in lower case", f"write {value.lower()[:253]}" if is_plain(value) else "use lower case")
    labels = name.split(".")
    fits = all(re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", label) for label in labels)
    if not fits or len(value) > 253 or labels[-1].isdigit() or (value != name and len(labels) < 2):
        raise refusal(
            "must be a host name, *.name or an IPv4 address, without scheme, port and path",
            "write it such as www.example.com",
        )
    return value


EVERYONE = "everyone"
"""The word that opens a development server to the world."""

WIDEST = {4: 8, 6: 16}
"""Shortest prefix of an allowed network, by IP version: 10.0.0.0/8 is the widest private one, and halves of the
Internet are no network that somebody knows."""

PRIVATE_NETWORKS = tuple(
    map(
        ipaddress.ip_network,
        # Loopback, RFC 1918, link-local (RFC 3927), and the same of IPv6 (RFC 4291, RFC 4193).
        _words("127.0.0.0/8 10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 169.254.0.0/16 ::1/128 fc00::/7 fe80::/10"),
    )
)


def allowed_network(value: str) -> str:
    """Check a network that may reach a development server, or the word that means all of them."""
    if value == EVERYONE:
        return value
    try:
        network = ipaddress.ip_network(value)
    except ValueError:
        try:
            fix = f"write {ipaddress.ip_network(value, strict=False)}"
        except ValueError:
            fix = "write it such as 192.0.2.0/24, 192.0.2.7 or 2001:db8::/32"
        raise refusal(f"must be a network in CIDR notation, one address, or the word {EVERYONE}", fix) from None
    if network.is_loopback:
        raise refusal("must not be the server itself, which may always reach it", "remove it")
    if network.prefixlen < WIDEST[network.version]:
        raise refusal(
            f"must be a network of /{WIDEST[network.version]} or smaller",
            f"name the networks of your developers, or write {EVERYONE} if the world shall run code on this server",
        )
    return str(network)


def is_public(address: str) -> bool:
    """Tell whether the world may reach an address: all but loopback and private ones, and every name but localhost.

    A name is not looked up: what it means may change, and would be another thing here than elsewhere.
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address != "localhost" and not address.endswith(".localhost")
    return not any(found in network for network in PRIVATE_NETWORKS if network.version == found.version)


def is_plain(value: str) -> bool:
    """Tell whether a value can stand in a message as it is."""
    return re.fullmatch(r"[A-Za-z0-9._*-]{1,80}", value) is not None


def git_reference(value: str) -> str:
    """Check the name of a tag or branch with the rules of `git check-ref-format --allow-onelevel`."""
    parts = value.split("/")
    if (
        not value
        or len(value) > 200
        or value.startswith("-")
        or value.endswith(".")
        or value == "@"
        or re.search(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{", value)
        or not is_one_line(value)
        or any(not part or part.startswith(".") or part.endswith(".lock") for part in parts)
    ):
        raise refusal("must be a tag, a branch or a commit as git names it", "write it such as v1.0.0")
    return value


def repository(value: str) -> str:
    """Check where a repository is; no transport that runs a command or is unencrypted, and no password."""
    bad = not is_one_line(value) or value != value.strip() or not value or len(value) > 1000
    if bad or value.startswith("-") or "::" in value:
        raise refusal("must be the place of a git repository", f"write {KINDS_OF_REPOSITORY}")
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", value)
    if scheme:
        if scheme[1] not in ("https", "ssh", "file"):
            raise refusal("must be reached by https, ssh or file", f"write {KINDS_OF_REPOSITORY}")
        user = re.match(r"[^/]*@", value[scheme.end() :])
        if user and (scheme[1] != "ssh" or ":" in user[0]):
            raise refusal(
                "must not hold a user name or password, for this file is not encrypted",
                "remove the part before @ and let git's credential helper or ssh answer for you",
            )
        if not re.fullmatch(r"[^/\s-][^/\s]*/\S+" if scheme[1] != "file" else r"/.+", value[scheme.end() :]):
            raise refusal("must name a host and a path", "write it such as https://git.example.com/team/app.git")
        return value
    head = value.split("/", 1)[0]
    if head.startswith("example:"):
        return matching(r"example:[a-z][a-z0-9-]*", "must name a bundled example", "write example:guestbook")(value)
    if ":" in head and not re.fullmatch(r"[A-Za-z0-9._][A-Za-z0-9._-]*@[A-Za-z0-9][A-Za-z0-9.-]*:[^-].*", value):
        raise refusal("must be the place of a git repository", f"write {KINDS_OF_REPOSITORY}")
    return value


def address(value: str) -> str:
    """Check the name or IP address of a host, without user, port and brackets."""
    try:
        ipaddress.ip_address(value)
    except ValueError:
        labels = value.split(".")
        is_name = all(re.fullmatch(HOST_LABEL, label, re.IGNORECASE | re.ASCII) for label in labels)
        if not is_name or len(value) > 253 or labels[-1].isdigit():
            raise refusal(
                "must be a host's name or IP address, without user, scheme and port",
                "write it such as 203.0.113.7 or app1.example.com; user and port are settings beside it",
            ) from None
    return value


def host_key(value: str) -> str:
    """Return a host's public key as `kind base64`, from that or from a line of ssh-keyscan or of a .pub file."""
    words = value.split()
    at = next((number for number, word in enumerate(words[:2]) if re.match(r"(ssh|ecdsa|sk|rsa)-", word)), None)
    if at is None or len(words) < at + 2 or not is_one_line(value.strip()):
        rule = "must be a public SSH host key, not its fingerprint" if "SHA256:" in value else "must be an SSH host key"
        raise refusal(rule, "write it as ssh-keyscan -t ed25519 ADDRESS prints it: ssh-ed25519 AAAA…")
    kind, key = words[at : at + 2]
    if kind not in HOST_KEYS:
        what = "an RSA key would be offered as ssh-rsa alone, which today's servers refuse"
        raise refusal(
            f"must be an Ed25519 or ECDSA key ({what if 'rsa' in kind else 'other kinds are not known here'})",
            "take the output of: ssh-keyscan -t ed25519 ADDRESS",
        )
    try:
        # The key itself begins with its kind, after four bytes with the length of that (RFC 4253, section 6.6).
        whole = base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError):
        whole = b""
    if len(whole) < 50 or whole[4 : 4 + len(kind)] != kind.encode():
        raise refusal("must be a whole SSH host key", "copy the line of ssh-keyscan again, to its end")
    return f"{kind} {key}"


def private_key(value: str) -> str:
    """Check a private SSH key without a passphrase; its text ends with one newline, which some readers want."""
    lines = [line.strip() for line in value.strip().splitlines()] or [""]
    if lines[0] == "-----BEGIN ENCRYPTED PRIVATE KEY-----":
        raise _WITH_PASSPHRASE
    if not re.fullmatch(r"-----BEGIN ([A-Z]+ )?PRIVATE KEY-----", lines[0]) or not lines[-1].startswith("-----END "):
        raise refusal(
            "must be the whole text of a private SSH key",
            "hand the file without .pub over, as in: ./pulumi config set --secret --path "
            "flaskhost:credentials.NAME --stack STACK < ~/.ssh/KEY",
        )
    body = "".join(line for line in lines[1:-1] if ":" not in line)
    try:
        inner = base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        raise refusal("must be the whole text of a private SSH key", "copy it again, with all of its lines") from None
    # OpenSSH's own form names the cipher after a word of its own (PROTOCOL.key); PEM says it in a header.
    magic = b"openssh-key-v1\0"
    cipher = inner[len(magic) + 4 :][:4] if inner.startswith(magic) else b"none"
    if cipher != b"none" or any(line.startswith("Proc-Type:") for line in lines):
        raise _WITH_PASSPHRASE
    return "\n".join(lines) + "\n"


_WITH_PASSPHRASE = refusal(
    "must be a private key without a passphrase",
    "make a key for this stack alone: ssh-keygen -t ed25519 -N '' -f ~/.ssh/flaskhost",
)


def accepts(rule: Callable[[str], str], value: Any) -> bool:
    """Tell whether a rule of this module takes a value."""
    try:
        rule(_text(value))
    except PydanticCustomError:
        return False
    return True


class SshPlace(NamedTuple):
    """The way to a repository over SSH; user and port are empty where they are not said."""

    user: str
    host: str
    port: str


def ssh_place(value: str) -> SshPlace | None:
    """Return the way to a repository over SSH, as git reads it; None for other repositories."""
    found = re.match(r"ssh://(?:([^@/]*)@)?(\[[^\]/]*\]|[^:/]*)(?::([0-9]+))?/", value)
    if not found and "://" not in value:
        found = re.match(r"([^@/:]+)@([^:/]+)()?:", value)
    return SshPlace(found[1] or "", found[2].strip("[]"), found[3] or "") if found else None


def commit_and_version(value: str) -> tuple[str, str | None]:
    """Return the full commit of app.commit, and the version that it was written for, where it says one."""
    version, _, commit = value.rpartition("@")
    return commit, version or None


def is_commit(value: Any) -> bool:
    """Tell whether a version is a full commit, which needs no look-up."""
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{40}", value) is not None


def database_kind(environment: Mapping[str, str]) -> str | None:
    """Return what kind of database an environment names (postgresql, mysql or sqlite), or None.

    The host reads the same variables in the same order (flaskhost/backups.py).
    """
    url = next((environment[name] for name in DATABASE_URLS if environment.get(name)), "")
    found = re.match(r"(?:(postgres(?:ql)?)|(mysql|mariadb)|(sqlite))(?:\+\w+)?://(/?)(/?)", url)
    if not found or (found[3] and not (found[4] and found[5])):
        return None
    return "postgresql" if found[1] else "mysql" if found[2] else "sqlite"


def folder(value: str) -> str:
    """Check a folder of the workstation; any name that a file system takes."""
    if not value.strip() or value != value.strip() or not is_one_line(value) or len(value) > 1000:
        raise refusal("must be a folder on this machine", "write a path such as ../myapp")
    return value


def _is_inside(value: str) -> bool:
    """Tell whether a path is one below the application's source: relative, never upwards, and plain."""
    plain = all(part not in (".", "..") and re.fullmatch(r"[A-Za-z0-9._-]+", part) for part in value.split("/"))
    return plain and len(value) <= 200


def folder_in_source(value: str) -> str:
    """Check a folder below the application's source."""
    if not _is_inside(value):
        raise refusal(
            "must be a folder inside the source, with letters, digits, . _ - only", "write it such as app/static"
        )
    return value


def file_in_source(value: str) -> str:
    """Check a file below the application's source."""
    if not _is_inside(value):
        raise refusal(
            "must be a file inside the source, with letters, digits, . _ - only", "write it such as .env.example"
        )
    return value


REFUSED_ROOTS = _words(
    "/bin /boot /dev /etc /home /lib /lib32 /lib64 /libx32 /lost+found /proc /root /run /sbin /sys /tmp /usr "
    "/var/backups /var/cache /var/lib /var/local /var/lock /var/log /var/mail /var/opt /var/run /var/spool /var/tmp"
)


def root_folder(value: str) -> str:
    """Check the folder that holds applications; short enough for a socket below it (108 bytes, sun_path in unix(7))."""
    if not re.fullmatch(r"(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+", value) or len(value) > 40:
        raise refusal(
            "must be an absolute path of at most 40 letters, digits, . _ - and /, without .. and without / at its end",
            "write /srv or /var/www",
        )
    if value == "/var" or any(value == refused or value.startswith(refused + "/") for refused in REFUSED_ROOTS):
        raise refusal("must not be a folder of the system or of a person", "write /srv or /var/www")
    return value


def url_folder(value: str) -> str:
    """Check the URL below which files are served; it becomes an Nginx location."""
    parts = value.split("/")
    inner = parts[1:-1]
    bad = any(part in (".", "..") or not re.fullmatch(r"[A-Za-z0-9._~-]+", part) for part in inner)
    if len(value) > 200 or len(parts) < 3 or parts[0] or parts[-1] or bad:
        raise refusal(
            "must start and end with / and not be / alone, with letters, digits and . _ ~ - between, no part . or ..",
            "write it such as /static/",
        )
    return value


def health_path(value: str) -> str:
    """Check the path that a health check asks for."""
    if not value.startswith("/"):
        raise refusal("must start with /", "write a path such as /health")
    if value.startswith("//") or len(value) > 200 or not re.fullmatch(r"[A-Za-z0-9._~%/?=&+:@,-]+", value):
        raise refusal(
            "must be the path of a URL with at most 200 characters of A-Z a-z 0-9 . _ ~ % / ? = & + : @ , -",
            "write a path such as /health",
        )
    return value


def wsgi_entry(value: str) -> str:
    """Check auto, `module:attribute` or `module:factory(…)`, with literals as arguments, as Gunicorn reads it."""
    if value == "auto":
        return value
    name = r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*"
    found = re.fullmatch(rf"{name}:({name}(\([A-Za-z0-9_=,. '\"/-]*\))?)", value, re.ASCII)
    if found and len(value) <= 200:
        try:
            entry = ast.parse(found[2], mode="eval").body
            if isinstance(entry, ast.Call):
                for argument in (*entry.args, *(keyword.value for keyword in entry.keywords)):
                    ast.literal_eval(argument)
        except (SyntaxError, ValueError):
            pass
        else:
            return value
    raise refusal("must be module:attribute", "write it such as wsgi:app or wsgi:create_app()")


def command(value: str) -> str:
    """Check one line of shell; what it does is the application's business."""
    if not value.strip():
        raise refusal("must be one line of text", "write one command, or leave it out for the default")
    if not is_one_line(value):
        raise refusal("must be one line of text without control characters", "write one command, or call a script")
    if len(value) > LONGEST_COMMAND:
        raise refusal(f"must have at most {LONGEST_COMMAND} characters", "put it into a script of the application")
    return value


def process_name(value: str) -> str:
    """Check the name of a process or job, a part of the names of its units.

    Without a hyphen: the unit of application `shop` and process `a-b` would be that of `shop-a` and `b`.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]{0,30}", value):
        rule = "must start with a letter, hold only a-z and 0-9, and have at most 31 characters"
        raise refusal(rule, "write a name such as worker")
    if value == "gunicorn":
        raise refusal("is the name of the application server's own unit", "choose another one, such as worker")
    return value


def schedule(value: str) -> str:
    """Check a calendar event as far as its form goes (systemd.time(7)); the host asks `systemd-analyze calendar`."""
    if len(value) > LONGEST_SCHEDULE or not SCHEDULE.fullmatch(value):
        raise refusal(
            "must be a calendar event as systemd writes it: days of the week, date, time, time zone, or a word such as "
            "daily",
            "write it such as *-*-* 03:00:00, and try it with: systemd-analyze calendar '*-*-* 03:00:00'",
        )
    return value


def python_version(value: str) -> str:
    """Check a Python version: 3.N, or 3.N.P for an exact one. 3.8 is the oldest that the host command runs on."""
    found = re.fullmatch(r"3\.([0-9]{1,2})(\.[0-9]{1,2})?", value, re.ASCII)
    if not found or int(found[1]) < 8:
        raise refusal("must be 3.N or 3.N.P, from 3.8 on", 'write it in quotes, such as "3.11"')
    return value


def dependency_file(value: str) -> str:
    """Check the file that names the packages: a lock, or a requirements file anywhere in the source."""
    if value in ("auto", "uv.lock", "poetry.lock") or (_is_inside(value) and value.endswith(".txt")):
        return value
    raise refusal(
        "must be auto, uv.lock, poetry.lock or a .txt file inside the source",
        "write auto, or a file such as requirements/production.txt",
    )


def gunicorn_setting(value: str) -> str:
    """Check the name of a further Gunicorn setting: known, and not one that has a place of its own."""
    if value in OWN_GUNICORN_SETTINGS:
        raise refusal("is set elsewhere", f"use {OWN_GUNICORN_SETTINGS[value]}")
    if value in REFUSED_GUNICORN_SETTINGS:
        raise refusal("belongs to the units of flaskhost", "remove it")
    if value not in GUNICORN_SETTINGS:
        raise refusal("is no setting of Gunicorn that can be written here", "look it up in Gunicorn's settings")
    return value


def json_value(value: Any) -> Any:
    """Check a value that becomes a Python literal in gunicorn.conf.py: any JSON, with clean text."""
    if isinstance(value, dict):
        for key, inner in value.items():
            json_value(key)
            json_value(inner)
    elif isinstance(value, list):
        for inner in value:
            json_value(inner)
    elif isinstance(value, str):
        if not is_one_line(value) or not is_unicode(value):
            raise refusal("must be text without control characters and line ends", "remove them")
        if len(value) > LONGEST_COMMAND:
            raise refusal(f"must have at most {LONGEST_COMMAND} characters", "shorten it")
    elif value is not None and not isinstance(value, (bool, int, float)):
        raise refusal("must be text, a number, true, false, null, a list or a mapping", "write one of these")
    elif isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):  # noqa: PLR0124
        raise refusal("must be a finite number", "write a number")
    return value


def distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    """Check that a list names nothing twice."""
    if len(set(values)) != len(values):
        raise refusal("must not name anything twice", "remove the second one")
    return values


Text = Annotated[str, BeforeValidator(_text)]
Flag = Annotated[bool, BeforeValidator(_yes_or_no)]
Number = Annotated[int, BeforeValidator(_whole_number)]
Port = Annotated[Number, within(1, 65535)]
ApplicationName = Annotated[Text, AfterValidator(application_name)]
EnvironmentName = Annotated[str, AfterValidator(environment_name)]
EnvironmentValue = Annotated[str, BeforeValidator(environment_value)]
Domain = Annotated[Text, AfterValidator(domain)]
AllowedNetwork = Annotated[Text, AfterValidator(allowed_network)]
GitReference = Annotated[Text, AfterValidator(git_reference)]
Repository = Annotated[Text, AfterValidator(repository)]
Folder = Annotated[Text, AfterValidator(folder)]
FolderInSource = Annotated[Text, AfterValidator(folder_in_source)]
FileInSource = Annotated[Text, AfterValidator(file_in_source)]
RootFolder = Annotated[Text, AfterValidator(root_folder)]
UrlFolder = Annotated[Text, AfterValidator(url_folder)]
HealthPath = Annotated[Text, AfterValidator(health_path)]
WsgiEntry = Annotated[Text, AfterValidator(wsgi_entry)]
CommandLine = Annotated[Text, AfterValidator(command)]
ProcessName = Annotated[str, AfterValidator(process_name)]
Schedule = Annotated[Text, AfterValidator(schedule)]
MemorySize = Annotated[
    Text,
    AfterValidator(
        matching(
            r"[1-9][0-9]{0,5}[KMGT]",
            "must be a size as systemd writes it: digits and K, M, G or T",
            "write it such as 512M",
        )
    ),
]
PythonVersion = Annotated[Text, AfterValidator(python_version)]
PythonMirror = Annotated[
    Text,
    AfterValidator(
        matching(
            r"(https://[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]{1,5})?|file://)(/[A-Za-z0-9._~%+-]+)+",
            "must be a URL with https:// or file://, without user name and without / at its end",
            "write it such as https://mirror.example.com/python-build-standalone/releases/download",
            500,
        )
    ),
]
DependencyFile = Annotated[Text, AfterValidator(dependency_file)]
GunicornSetting = Annotated[str, AfterValidator(gunicorn_setting)]
Json = Annotated[Any, AfterValidator(json_value)]
Commit = Annotated[
    Text,
    AfterValidator(
        matching(
            r"(\S{1,200}@)?[0-9a-f]{40}",
            "must be the 40 lower-case hexadecimal digits of a commit",
            "take the output of: git rev-parse v1.0.0^{commit}",
            241,
        )
    ),
]
Address = Annotated[Text, AfterValidator(address)]
HostKey = Annotated[Text, AfterValidator(host_key)]
PrivateKey = Annotated[Text, AfterValidator(private_key)]
LoginUser = Annotated[
    Text,
    AfterValidator(
        matching(
            r"[A-Za-z_][A-Za-z0-9._-]*",
            "must be the name of a user: letters, digits, . _ -, at most 32",
            "write root, or a user who may use sudo",
            32,
        )
    ),
]
Password = Annotated[
    Text,
    AfterValidator(
        matching(
            r"[^\x00-\x1f\x7f]+", "must be one line without control characters", "set it again, with no newline", 500
        )
    ),
]
Token = Annotated[
    Text,
    AfterValidator(matching(r"[!-~]+", "must be visible ASCII characters without spaces", "copy the token again", 500)),
]
ContainerName = Annotated[
    Text,
    AfterValidator(
        matching(
            HOST_LABEL,
            "must be a container's and host's name: a-z, 0-9 and -, neither first nor last a -, at most 63",
            "write it such as flaskhost-try",
        )
    ),
]
Image = Annotated[
    Text,
    AfterValidator(
        matching(
            r"[a-z0-9][A-Za-z0-9._/:@-]*",
            "must be auto or the name of a container image",
            "write auto, or a name such as docker.io/library/ubuntu:24.04",
        )
    ),
]
Package = Annotated[
    Text,
    AfterValidator(
        matching(
            r"[a-z0-9][a-z0-9+.-]+",
            "must be the name of a Debian package",
            "write a name such as libvips42",
            100,
        )
    ),
]
ReleaseNumber = Annotated[
    Text,
    AfterValidator(
        matching(r"[0-9]+(\.[0-9]+){1,3}", "must be a version number", 'write it in quotes, such as "23.0.0"', 30)
    ),
]
BodySize = Annotated[
    str,
    BeforeValidator(_text),
    BeforeValidator(_digits),  # the last one runs first
    AfterValidator(
        matching(
            r"0|[1-9][0-9]{0,8}[kKmM]?|[1-9][0-9]{0,2}[gG]",
            "must be a size as Nginx writes it: digits and k, m or g; 0 for no limit",
            "write it such as 10m",
        )
    ),
]
Expiry = Annotated[
    Text,
    AfterValidator(
        matching(
            r"[1-9][0-9]{0,4}[smhdwMy]|off|max|epoch",
            "must be a time as Nginx writes it: digits and s, m, h, d, w, M or y; or off, max, epoch",
            "write it such as 30d",
        )
    ),
]
DigestKey = Annotated[
    Text,
    AfterValidator(
        matching(
            r"[!-~]{32,}",
            "must have at least 32 visible ASCII characters",
            'make one with: ./pulumi config set --secret flaskhost:digest_key "$(openssl rand -hex 32)" --stack NAME',
            1000,
        )
    ),
]
