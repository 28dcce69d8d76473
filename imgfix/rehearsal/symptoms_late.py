"""What a guest prints whose init runs and which does not come to Ready or to SSH. Data."""

from __future__ import annotations

from imgfix.rehearsal.events import Stage
from imgfix.rehearsal.symptom import Where, row

#: Up to Ready: systemd waits 90 s for a device, and an agent that needs it not has reported Ready meanwhile.
INIT = (
    row(
        "fstab device missing", (Stage.ROOT, Stage.READY), Where.CONSOLE,
        r"Timed out waiting for device (\x1b\S*)?(?P<device>[^\n]+?)\.?$[^\0]*"
        r"(emergency mode|Dependency failed for .*(Local File|local-fs|File System))",
        "/etc/fstab (or crypttab) names a device that is not there: {device}; local-fs.target fails "
        "and the boot ends in "
        "emergency mode",
        "drop the line, or give it nofail and a UUID", "fstab.by_uuid: true", stage=Stage.INIT,
    ),
    row(
        "mount failed", (Stage.ROOT, Stage.READY), Where.CONSOLE,
        r"Failed (to mount|at step) (\x1b\S*)?(?P<unit>[^\n]+?)\.?$[^\0]*emergency mode|"
        r"Dependency failed for (?P<place>/\S+)[^\0]*emergency mode",
        "a mount of /etc/fstab fails ({unit}{place}) and the boot ends in emergency mode",
        "correct the line, or give it nofail", "fstab", stage=Stage.INIT,
    ),
    row(
        "emergency", (Stage.ROOT, Stage.READY), Where.CONSOLE,
        r"You are in emergency mode|emergency\.target|Entering emergency mode|Cannot open access to console",
        "the boot ends in emergency mode",
        "the [FAILED] and [DEPEND] lines before it name the unit", "", stage=Stage.INIT, final=True,
    ),
    row(
        "selinux policy", (Stage.ROOT, Stage.INIT), Where.CONSOLE,
        r"Failed to load SELinux policy|Freezing execution",
        "SELinux' policy does not load, or init froze",
        "relabel, or boot with enforcing=0 to see more", "", stage=Stage.INIT, final=True,
    ),
)  # fmt: skip

NETWORK = (
    row(
        "cards by old name", (Stage.INIT, Stage.INIT), Where.CONSOLE,
        r"(Failed to start|FAILED.*) .*([Rr]aise network|networking|Networking|Network Manager)[^\n]*",
        "the network did not come up: its configuration names another card or a static address",
        "have the first card do DHCP", "network.dhcp: true, network.interface: eth0", stage=Stage.NETWORK,
    ),
    row(
        "no DHCP", (Stage.INIT, Stage.INIT), Where.CONSOLE, r"\Z",
        "the guest came up to a login and never asked for an address: its configuration has a "
        "static one, names another "
        "card, or nothing starts the network",
        "have the first card do DHCP", "network.dhcp: true, network.interface: eth0", stage=Stage.NETWORK,
        needs_login=True,
    ),
)  # fmt: skip

DATASOURCE = (
    row(
        "cloud-init disabled by the kernel", (Stage.INIT, Stage.PROVISIONING), Where.CONSOLE,
        r"^.*[Cc]ommand line: .*\bcloud-init=disabled\b.*$",
        "cloud-init is disabled on the kernel command line",
        "drop cloud-init=disabled", "kernel_args.remove: ['cloud-init=disabled']", stage=Stage.DATASOURCE,
    ),
    # array.tostring is gone from Python 3.9 on, which Debian 11 has beside waagent 2.2.45:
    # https://docs.python.org/3/whatsnew/3.9.html#removed
    row(
        "agent too old for its Python", (Stage.INIT, Stage.PROVISIONING), Where.CONSOLE,
        r"\.tostring\(\)|has no attribute 'tostring'",
        "this version of the Azure Linux Agent cannot provision with the guest's Python: it calls what 3.9 has removed",
        "let cloud-init provision, or install a newer agent", "provisioning.agent: cloud-init",
        stage=Stage.PROVISIONING,
    ),
    row(
        "agent needs its file", (Stage.INIT, Stage.PROVISIONING), Where.CONSOLE,
        r"No such file or directory: '(?P<path>/etc/sysconfig/network(-scripts/ifcfg-\S+|/dhcp))'",
        "the Azure Linux Agent keeps the host name in {path}, which is missing, and ends with an error each time",
        "write the file, or let cloud-init provision", "provisioning.agent", stage=Stage.PROVISIONING,
    ),
    row(
        "waiting for a host key", (Stage.INIT, Stage.PROVISIONING), Where.LOGS,
        r"[Ww]aiting for (ssh )?host ?key|ssh host key not found|(SSH|ssh) host key .*(to be generated|not found)",
        "the Azure Linux Agent waits for a host key that cloud-init shall make, and cloud-init does not",
        "enable cloud-init, or have the agent provision", "provisioning.agent", stage=Stage.PROVISIONING,
    ),
    row(
        "agent restarts", (Stage.PROVISIONING, Stage.PROVISIONING), Where.REPORTS,
        r"begins again and again",
        "the agent begins to provision again and again: it ends each time before it is done",
        "its log in the guest, and the journal of its unit, say why", "provisioning.agent", stage=Stage.PROVISIONING,
    ),
    row(
        "cloud-init disabled", (Stage.INIT, Stage.PROVISIONING), Where.FILES,
        r"(?P<path>/etc/cloud/cloud-init\.disabled)",
        "cloud-init is disabled by {path}",
        "remove the file", "cloud_init.disablers", stage=Stage.DATASOURCE,
    ),
    row(
        "ordering cycle", (Stage.INIT, Stage.PROVISIONING), Where.CONSOLE,
        r"Ordering cycle found, skipping (?P<unit>(cloud-|waagent|walinuxagent)\S*)|"
        r"(?P<other>(cloud-|waagent|walinuxagent)\S*): Job \S+ deleted to break ordering cycle",
        "systemd leaves {unit}{other} out at boot, as its unit is ordered before and after the same thing",
        "look for an override of the unit in /etc/systemd/system, and at Before= and After= in it", "",
        stage=Stage.DATASOURCE,
    ),
    row(
        "no UDF", (Stage.INIT, Stage.PROVISIONING), Where.LOGS,
        r"unknown filesystem type '?udf|Could not find OVF|ovf-env\.xml.*(not found|No such file)|"
        r"Failed to (mount|get) (dvd|provisioning)[^\n]*|Error .*(mount|Mount).*dvd[^\n]*",
        "the guest cannot read the provisioning DVD, which is UDF",
        "let udf and cdrom load: look for `install udf` and `blacklist` in modprobe.d",
        "kernel_modules.required: [udf]",
        stage=Stage.DATASOURCE,
    ),
    row(
        "no datasource", (Stage.INIT, Stage.PROVISIONING), Where.CONSOLE,
        r"DataSourceNone|Used fallback datasource",
        "cloud-init found no datasource: Azure is not among those that it may use, or ds-identify is told otherwise",
        "name Azure", "cloud_init.datasources: [Azure], cloud_init.disablers", stage=Stage.DATASOURCE, final=True,
    ),
    row(
        "no datasource", (Stage.INIT, Stage.PROVISIONING), Where.LOGS,
        r"DataSourceNone|No instance datasource found|Used fallback datasource",
        "cloud-init found no datasource: Azure is not among those that it may use, or ds-identify is told otherwise",
        "name Azure", "cloud_init.datasources: [Azure], cloud_init.disablers", stage=Stage.DATASOURCE,
    ),
    row(
        "DHCP failed", (Stage.INIT, Stage.NETWORK), Where.LOGS,
        r"(DHCP|dhcp)[^\n]*(fail|timed out|No lease|not found|NoDHCPLease)[^\n]*|NoDHCPLease\w*",
        "the agent's own DHCP fails",
        "is a DHCP client installed that it knows (dhclient, udhcpc, dhcpcd)?", "packages.add", stage=Stage.NETWORK,
    ),
    row(
        "provisioning failed", (Stage.DATASOURCE, Stage.PROVISIONING), Where.REPORTS,
        r"ProvisioningFailed:? ?(?P<why>[^\n]*)",
        "the agent reports that provisioning failed: {why}",
        "its log in the guest says more", "provisioning.agent", stage=Stage.PROVISIONING,
    ),
    row(
        "traceback", (Stage.INIT, Stage.PROVISIONING), Where.LOGS,
        r"Traceback \(most recent call last\):[^\0]*?^(?P<error>\w+(\.\w+)*(Error|Exception)[^\n]*)",
        "an agent ends with an error: {error}",
        "its log in the guest says more", "packages.add", stage=Stage.PROVISIONING,
    ),
    row(
        "nobody provisions", (Stage.INIT, Stage.NETWORK), Where.CONSOLE,
        r"[Cc]loud-init( v\.|\[|: )|[Cc]loud-init .*(job|stage|config)|Azure Linux Agent|waagent",
        "neither cloud-init nor the Azure Linux Agent starts: not installed, not enabled, or held "
        "back by a condition",
        "install and enable one; a specialized image is rehearsed by --agent disabled",
        "packages.add, services.enable, provisioning.agent", stage=Stage.DATASOURCE, absent=True, needs_login=True,
    ),
    row(
        "no report", (Stage.NETWORK, Stage.PROVISIONING), Where.CONSOLE, r"\Z",
        "the guest came up to a login and no agent reported Ready",
        "look at cloud-init.log and waagent.log in the guest", "provisioning.agent, services.enable",
        needs_login=True,
    ),
)  # fmt: skip

SSH = (
    row(
        "no host keys", (Stage.READY, Stage.READY), Where.CONSOLE,
        r"sshd: no hostkeys available|Could not load host key",
        "the SSH server does not start for lack of host keys",
        "make them when the server starts", "ssh.generate_host_keys: true", stage=Stage.SSH,
    ),
    row(
        "sshd failed", (Stage.READY, Stage.READY), Where.CONSOLE,
        r"(Failed to start|FAILED.*) .*(\bsshd?\b|OpenBSD Secure Shell|OpenSSH)[^\n]*",
        "the SSH server does not start",
        "sshd -t in the guest says why; mostly host keys are missing", "ssh.generate_host_keys: true",
        stage=Stage.SSH,
    ),
    row(
        "sshd not running", (Stage.READY, Stage.READY), Where.SSH,
        r"Connection (refused|reset|closed)|kex_exchange_identification",
        "nothing answers at port 22: the SSH server is not running, or a firewall closes the port",
        "install and enable it", "services.enable: ssh server", stage=Stage.SSH,
    ),
    row(
        "key refused", (Stage.READY, Stage.READY), Where.SSH,
        r"Permission denied",
        "the SSH server refuses the provisioned user's key: the user or the key is not there, or "
        "sshd_config forbids it",
        "look at PubkeyAuthentication, AllowUsers and AuthorizedKeysFile in sshd_config", "", stage=Stage.SSH,
    ),
    row(
        "no network after provisioning", (Stage.READY, Stage.READY), Where.REPORTS,
        r"asked for no address after cloud-init had reported Ready",
        "the network is down once provisioning is over: cloud-init used DHCP of its own, and the guest's "
        "configuration has a static address, names another card, or nothing that starts at boot reads it",
        "have the first card do DHCP, and enable what brings it up", "network.dhcp: true, network.interface: eth0",
        stage=Stage.NETWORK,
    ),
    row(
        "ssh time-out", (Stage.READY, Stage.READY), Where.SSH,
        r"timed out|no answer within|No route to host",
        "the SSH server does not answer in time", "is there a firewall in the guest?", "", stage=Stage.SSH,
    ),
)  # fmt: skip
