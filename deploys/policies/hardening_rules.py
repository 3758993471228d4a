"""The rules of the STIG for Photon OS as data: what each one asks of which policy, and what it is proved by.

Numbers and values are those of VMware's STIG content for Photon 5.0, whose 4.0 twin has the same numbers. What is not
asked of a policy is a value of a packaged file (`keys`) or only looked at (hardening_reads).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from deploys.policies.base import Policy
from deploys.policies.files import Directory, File, Files
from deploys.policies.kernel import Kernel, Setting
from deploys.policies.packages import Packages
from deploys.policies.services import DropIn, Service, Services
from deploys.policies.ssh import CIPHERS, MACS, Ssh

LOGIN, QUALITY, FAILLOCK = "/etc/login.defs", "/etc/security/pwquality.conf", "/etc/security/faillock.conf"
AUDITD, TDNF = "/etc/audit/auditd.conf", "/etc/tdnf/tdnf.conf"


@dataclass(frozen=True)
class KeyFile:
    """A file of a package in which rules decide single values (see operations.keyed)."""

    style: str
    package: str
    after: str = "true"


KEY_FILES: Mapping[str, KeyFile] = {
    LOGIN: KeyFile("space", "shadow"),
    QUALITY: KeyFile("equals", "libpwquality"),
    FAILLOCK: KeyFile("equals", "Linux-PAM"),
    # auditd refuses to be restarted by systemd, and reads its file again when told so.
    AUDITD: KeyFile(
        "equals", "audit",
        "if systemctl is-active --quiet auditd.service; then systemctl kill --signal=HUP --kill-who=main auditd; fi",
    ),
    TDNF: KeyFile("tight", "tdnf"),
}  # fmt: skip


@dataclass(frozen=True)
class Rule:
    """One rule.

    Args:
        number: the end of its id.
        topic: what it is about.
        wants: policies with only those fields that the rule decides.
        accepts: other values of such a field that fulfil the rule as well, and `accepted` in words.
        checks: ids of checks of these policies that prove it without a field.
        file: the file in which `keys` have these values.
        looked_at: it is proved by a read of the hardening policy.
        unless: with this policy, the rule does not apply to a host.
        limits: what of the rule is not done or not proved, and why.
    """

    number: str
    topic: str
    wants: tuple[Policy, ...] = ()
    accepts: Callable[[object], bool] | None = None
    accepted: str = ""
    checks: tuple[str, ...] = ()
    file: str = ""
    keys: Mapping[str, str] = field(default_factory=dict)
    looked_at: bool = False
    unless: str = ""
    limits: str = ""


def _at_most(limit: int) -> Callable[[object], bool]:
    return lambda value: isinstance(value, int) and 0 < value <= limit


def _among(known: tuple[str, ...]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, tuple) and bool(value) and set(value) <= set(known)


def _ssh(number: str, topic: str, keyword: str = "", limits: str = "", **fields: object) -> Rule:
    return Rule(
        number, topic, (Ssh(**fields),), checks=(f"ssh.{keyword}",) if keyword else (), limits=limits
    )  # fmt: skip


def _kernel(number: str, topic: str, *keys: str, value: str, unless: str = "") -> Rule:
    # A kernel without IPv6 has none of its settings.
    settings = [Setting(key=key, value=value, optional=".ipv6." in key) for key in keys]
    return Rule(number, topic, (Kernel(settings=settings),), unless=unless)


def _keys(number: str, topic: str, file: str, limits: str = "", **keys: str) -> Rule:
    return Rule(number, topic, file=file, keys=keys, limits=limits)


def _everywhere(name: str, *families: str) -> list[str]:
    return [f"net.{family}.conf.{which}.{name}" for family in families or ("ipv4",) for which in ("all", "default")]


_NOT_IN_FORCE = "auditd is told to read its file; that it has is not proved"
_NO_STACK = "the file only: pam_faillock is in no stack of Photon, and no policy of ours changes /etc/pam.d"
_NEW_ONLY = "for accounts that are made from now on; existing ones are the accounts policy's, as an expired password refuses keys too"  # noqa: E501
_LOOKED = "looked at, not changed"
_TMOUT = "(unset TMOUT) 2>/dev/null && TMOUT=900 && readonly TMOUT && export TMOUT || :\n"
_TMP = "[Mount]\nOptions=mode=1777,strictatime,noexec,nodev,nosuid,size=50%,nr_inodes=1m\n"
_MODULES = ("cramfs", "dccp", "freevxfs", "hfs", "hfsplus", "jffs2", "rds", "sctp", "squashfs", "tipc", "udf",
            "usb_storage")  # fmt: skip

RULES: tuple[Rule, ...] = (
    _keys("000004", "three failed logins lock", FAILLOCK, _NO_STACK, deny="3", fail_interval="900"),
    _ssh("000005", "a banner before each login", banner="/etc/issue", limits="its text is yours: Files(/etc/issue)"),
    Rule("000007", "ten logins of a user at the most",
         (Files(files=[File(path="/etc/security/limits.d/50-maxlogins.conf", content="* hard maxlogins 10\n")]),)),
    _keys("000014", "auditd writes its logs", AUDITD, _NOT_IN_FORCE, write_logs="yes"),
    Rule("000016", "auditd runs", (
        Packages(present=["audit"]), Services(units=[Service(unit="auditd.service", enabled=True, running=True)]))),
    _keys("000021", "auditd says when its disk is full", AUDITD, _NOT_IN_FORCE,
          disk_full_action="SYSLOG", disk_error_action="SYSLOG", admin_space_left_action="SYSLOG"),
    _keys("000026", "audit logs are root's", AUDITD, _NOT_IN_FORCE, log_group="root"),
    _keys("000035", "a capital in each new password", QUALITY, ucredit="-1"),
    _keys("000036", "a small letter in each new password", QUALITY, lcredit="-1"),
    _keys("000037", "a digit in each new password", QUALITY, dcredit="-1"),
    _keys("000038", "eight other characters in each new password", QUALITY, difok="8"),
    _keys("000039", "passwords are hashed by SHA-512", LOGIN, ENCRYPT_METHOD="SHA512"),
    Rule("000040", "no telnet", (Packages(absent=["netkit-telnet", "netkit-telnet-server"]),)),
    _keys("000041", "a password is kept for a day", LOGIN, _NEW_ONLY, PASS_MIN_DAYS="1"),  # noqa: S106
    _keys("000042", "a password is kept for 90 days at the most", LOGIN, _NEW_ONLY, PASS_MAX_DAYS="90"),  # noqa: S106
    _keys("000044", "passwords have 15 characters", QUALITY, minlen="15"),
    Rule("000047", "kernel modules that nobody needs", (Kernel(blacklist=list(_MODULES)),)),
    Rule("000049", "no two users with one number", looked_at=True, limits=_LOOKED),
    Rule("000059", "PAM hashes passwords by SHA-512", looked_at=True, limits=_LOOKED),
    _kernel("000067", "the kernel's log is root's", "kernel.dmesg_restrict", value="1"),
    _kernel("000068", "SYN cookies", "net.ipv4.tcp_syncookies", value="1"),
    Rule("000069", "sshd asks silent clients after 15 minutes", (Ssh(client_alive_seconds=900),),
         _at_most(900), "900 or less"),
    Rule("000073", "/var/log is root's", looked_at=True, limits=_LOOKED),
    Rule("000079", "sshd's ciphers", (Ssh(ciphers=list(CIPHERS)),), _among(CIPHERS), "some of these"),
    Rule("000080", "the kernel audits from its start", (Kernel(arguments=["audit=1"]),),
         limits="proved; the argument is yours to add, see the kernel policy"),
    _keys("000086", "a special character in each new password", QUALITY, ocredit="-1"),
    Rule("000093", "idle shells end after 15 minutes", (Files(files=[File(path="/etc/profile.d/tmout.sh", content=_TMOUT)]),)),  # noqa: E501
    _kernel("000105", "no following of others' links", "fs.protected_symlinks", value="1"),
    _keys("000108", "a locked account stays locked", FAILLOCK, _NO_STACK, unlock_time="0"),
    _keys("000110", "audit logs are rotated", AUDITD, _NOT_IN_FORCE, num_logs="5", max_log_file_action="ROTATE"),
    _keys("000112", "auditd says when a quarter of its disk is left", AUDITD, _NOT_IN_FORCE,
          space_left="25%", space_left_action="SYSLOG"),
    Rule("000127", "AIDE is there", (Packages(present=["aide"]),), limits="installed; its database is 000237"),
    Rule("000130", "tdnf checks signatures", (Packages(),), checks=("packages.gpgcheck", "packages.signatures")),
    Rule("000133", "sudo asks for a password", looked_at=True,
         limits="looked at; a rule of the accounts policy without a password is refused before a run"),
    _kernel("000160", "addresses are random", "kernel.randomize_va_space", value="2"),
    _keys("000161", "packages that nobody needs go with the last that did", TDNF, clean_requirements_on_remove="1"),
    _keys("000184", "no words of a dictionary as passwords", QUALITY, dictcheck="1"),
    _keys("000185", "four seconds after a failed login", LOGIN, FAIL_DELAY="4"),
    _keys("000186", "audit records get to the disk", AUDITD, _NOT_IN_FORCE, flush="INCREMENTAL_ASYNC", freq="50"),
    _keys("000187", "new homes are private", LOGIN, UMASK="077"),
    _ssh("000188", "no logins by host", "hostbasedauthentication"),
    _keys("000193", "a locked account is not told", FAILLOCK, _NO_STACK, silent=""),
    _keys("000194", "failed logins are logged by name", FAILLOCK, _NO_STACK, audit=""),
    _keys("000195", "root's password locks as well", FAILLOCK, _NO_STACK, even_deny_root=""),
    Rule("000196", "locks outlive a reboot", (Files(directories=[Directory(path="/var/log/faillock", mode="750")]),),
         file=FAILLOCK, keys={"dir": "/var/log/faillock"}, limits=_NO_STACK),
    Rule("000197", "PAM looks at new passwords", looked_at=True, limits=_LOOKED),
    Rule("000199", "every repository checks signatures", looked_at=True, limits=_LOOKED),
    _ssh("000200", "sshd's log is kept apart", syslog_facility="AUTHPRIV"),
    Rule("000201", "sshd logs logins", (Ssh(log_level="INFO"),), lambda value: value == "VERBOSE", "VERBOSE"),
    _ssh("000203", "sshd's silent clients", client_alive_count=0,
         limits="as the STIG says; sshd from 8.2 on takes 0 as `never`, 000093 ends idle shells"),
    _ssh("000207", "no empty passwords over SSH", "permitemptypasswords"),
    _ssh("000208", "no environment from users", "permituserenvironment"),
    _keys("000209", "new users get a home", LOGIN, CREATE_HOME="yes"),
    Rule("000210", "no debug shell", (Services(units=[Service(unit="debug-shell.service", masked=True)]),)),
    _ssh("000211", "no GSSAPI", "gssapiauthentication"),
    _ssh("000212", "no X11 over SSH", x11_forwarding=False),
    _ssh("000213", "sshd looks at modes of keys", "strictmodes"),
    _ssh("000214", "no Kerberos", "kerberosauthentication"),
    _ssh("000215", "no compression before a login", "compression"),
    _ssh("000216", "the last login is told", print_last_log=True),
    _ssh("000217", "no .rhosts", "ignorerhosts"),
    _ssh("000218", "no known_hosts of users", "ignoreuserknownhosts"),
    Rule("000219", "six tries of a login", (Ssh(max_auth_tries=6),), _at_most(6), "6 or less"),
    _ssh("000220", "no forwarding of ports", tcp_forwarding="no"),
    Rule("000221", "30 seconds for a login", (Ssh(login_grace_seconds=30),), _at_most(30), "30 or less"),
    Rule("000222", "no reboot by keyboard", (Services(units=[Service(unit="ctrl-alt-del.target", masked=True)]),)),
    _kernel("000223", "no source routes", *_everywhere("accept_source_route", "ipv4", "ipv6"), value="0"),
    _kernel("000224", "no answers to broadcasts", "net.ipv4.icmp_echo_ignore_broadcasts", value="1"),
    _kernel("000225", "no ICMP redirects", *_everywhere("accept_redirects", "ipv4", "ipv6"), value="0"),
    _kernel("000226", "no redirects by gateways", *_everywhere("secure_redirects"), value="0"),
    _kernel("000227", "no redirects are sent", *_everywhere("send_redirects"), value="0"),
    _kernel("000228", "impossible addresses are logged", *_everywhere("log_martians"), value="1"),
    Rule("000229", "answers leave as questions came", looked_at=True,
         limits="looked at: it would cut off a host that is reached by two ways; set it in its kernel policy"),
    _kernel("000231", "no forwarding of IPv4", "net.ipv4.ip_forward", value="0", unless="docker"),
    _kernel("000232", "TCP timestamps", "net.ipv4.tcp_timestamps", value="1"),
    Rule("000233", "public host keys are root's", looked_at=True, limits=_LOOKED),
    Rule("000234", "private host keys are root's alone", looked_at=True, limits=_LOOKED),
    _keys("000235", "the rules for passwords hold for root", QUALITY, enforce_for_root=""),
    Rule("000236", "no public name servers as a last resort", (
        Files(files=[File(path="/etc/systemd/resolved.conf.d/50-no-fallback.conf",
                          content="[Resolve]\nFallbackDNS=\n", restart="systemd-resolved.service")]),)),
    Rule("000239", "sshd's MACs", (Ssh(macs=list(MACS)),), _among(MACS), "some of these"),
    Rule("000241", "rsyslog is there", (Packages(present=["rsyslog"]),)),
    Rule("000242", "rsyslog runs", (
        Services(units=[Service(unit="rsyslog.service", enabled=True, running=True)]),)),
    _kernel("000244", "no links to others' files", "fs.protected_hardlinks", value="1"),
    Rule("000245", "no programs in /tmp", (
        Services(drop_ins=[DropIn(unit="tmp.mount", name="50-stig", content=_TMP, restart=False)]),), looked_at=True,
        limits="a mount that is there keeps its options until the next boot, and the proof says so"),
    _kernel("000246", "no cores of privileged programs", "fs.suid_dumpable", value="0"),
    Rule("000247", "PAM takes no empty passwords", looked_at=True, limits=_LOOKED),
)  # fmt: skip

_RULES_OF_AUDIT = "audit from 3.0.9-25 on brings these rules, and a second copy keeps all of them from being loaded"
_PAM = "a stack of PAM decides who can log in at all; no policy of ours writes /etc/pam.d"
NOT_COVERED: Mapping[str, tuple[str, str]] = {
    "000003": ("audit: accounts are made", _RULES_OF_AUDIT),
    "000012": ("rsyslog: auth, authpriv and daemon", "the text of rsyslog.conf is the distribution's or yours"),
    "000013": ("the FIPS provider of OpenSSL", "with 000182: it changes which of our keys and algorithms let in"),
    "000019": ("audit: privileged programs", _RULES_OF_AUDIT),
    "000030": ("modes of audit's files", "with audit's rules, see 000003"),
    "000031": ("audit: modes and owners", _RULES_OF_AUDIT),
    "000043": ("old passwords (4.0)", _PAM),
    "000046": ("a password of the boot loader", "to be done by hand in the STIG as well"),
    "000066": ("SELinux (4.0)", "the selinux policy; it needs a kernel that was started with it"),
    "000074": ("rsyslog: mode of its logs", "the text of rsyslog.conf is the distribution's or yours"),
    "000076": ("audit: accounts are changed", _RULES_OF_AUDIT),
    "000078": ("audit: accounts are removed", _RULES_OF_AUDIT),
    "000082": ("modes of audit's programs", "files of a package: rpm -V audit shows a change"),
    "000085": ("modes below /usr/lib", "files of packages: rpm -Va shows a change"),
    "000092": ("checksums of audit's programs", "with AIDE's database, see 000237"),
    "000107": ("audit: setuid programs", _RULES_OF_AUDIT),
    "000111": ("logs are sent elsewhere (4.0)", "Logging(syslog=...): the server is yours"),
    "000121": ("time servers (4.0)", "Time(servers=...): they are yours"),
    "000173": ("audit: logins", _RULES_OF_AUDIT),
    "000175": ("audit: kernel modules", _RULES_OF_AUDIT),
    "000182": ("FIPS mode of the kernel", "see 000013"),
    "000192": ("pam_faillock is in the stack", _PAM),
    "000204": ("audit: the files of accounts", _RULES_OF_AUDIT),
    "000206": ("PAM waits after a failed login", _PAM),
    "000237": ("AIDE's database", "it is made on a host that is known to be good, and kept elsewhere"),
    "000238": ("audit: old passwords", _RULES_OF_AUDIT),
    "000243": ("old passwords (4.0)", _PAM),
    "000266": ("audit: files are removed", _RULES_OF_AUDIT),
    "000267": ("PAM's stack ends with a refusal", _PAM),
}
