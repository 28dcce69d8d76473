"""Where secrets lie: one row a kind, with the globs of the files and what a file must hold to be one.

Bounded on purpose: a listing costs three calls of the appliance, so no row goes through the system. Homes are
searched for each account; everything else is named.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """A kind of secret. `system` are absolute globs, `homes` are relative to each home.

    `mark` tells a file that holds one from one that does not; without it, any file that is not empty does.
    """

    what: str
    system: tuple[str, ...] = ()
    homes: tuple[str, ...] = ()
    mark: re.Pattern[bytes] | None = None


def _globs(text: str) -> tuple[str, ...]:
    return tuple(text.split())


#: RFC 7468, OpenSSH's and PuTTY's own forms; a PEM file may begin with a certificate.
PEM = re.compile(rb"(?m)^-----BEGIN ([A-Z0-9]+ )*PRIVATE KEY( BLOCK)?-----|^PuTTY-User-Key-File-")
# Repetitions are bounded or stop at the end of a line: a guest may have made a file to keep a search busy.
#: A line that is no comment.
LINE = re.compile(rb"(?m)^[ \t]*[^#\s]")
#: Docker's config.json also lists what has its password elsewhere.
REGISTRY = re.compile(rb'"(auth|identitytoken|password)"[ \t]*:[ \t]*"[^"]')
#: The settings of users, be they ini, JSON, YAML or XML.
USER_SETTING = re.compile(
    rb"(?i)(pass(word)?|_auth\w{0,20}|authtoken|token)\"?[ \t]*[=:>][ \t]*['\"]?[^\s'\"<]"
)
#: wpa_supplicant, NetworkManager's keyfiles, WireGuard, netplan.
NETWORK = re.compile(
    rb"""(?ixm) ^[ \t]* "? (?:
      psk | wpa_psk | wep[-_]key\d | pass(?:word|wd) | [\w-]{0,40}-password | private-?key | preshared-?key
    ) "? [ \t]*[=:][ \t]* \S"""
)
#: A password or token that has a value; `lock_passwd: true` is none. The words of netrc(5); cloud-init's chpasswd.
SERVICE = re.compile(
    rb"""(?ixm) ^(?![ \t]*[#;]).*? (?:
      (?: (?<!no)pass(?:word|wd|phrase)? | authtok | token | secret\w{0,20} | api_?key | license_key | credentials )
      ["']?
      [ \t]*[=:][ \t]*
      (?! (?: ["']? (?: true | false | no | yes | none | null | [*!{\[|>] )? ["']? ) [ \t]*(?:\#.*)?$ ) \S
    | \b password [ \t]+ [^\s=:\#]
    | ^[ \t]* chpasswd:
    )"""
)

PLACES: tuple[Place, ...] = (
    Place(
        "private keys",
        system=_globs("""
            /etc/*.pem /etc/*.key /etc/ssh/* /etc/ssl/*.pem /etc/ssl/*.key /etc/ssl/private/*
            /etc/pki/tls/private/* /etc/pki/tls/certs/*.pem /etc/pki/nginx/private/* /etc/pki/libvirt*/private/*
            /etc/nginx/*.key /etc/nginx/*.pem /etc/nginx/*/*.key /etc/nginx/*/*.pem /etc/haproxy/*.pem
            /etc/apache2/*/*.key /etc/apache2/*/*.pem /etc/httpd/*/*.key /etc/httpd/*/*.pem /etc/haproxy/*/*.pem
            /etc/letsencrypt/archive/*/privkey*.pem /etc/letsencrypt/live/*/privkey.pem /etc/openvpn/* /etc/openvpn/*/*
            /etc/ipsec.d/private/* /etc/swanctl/private/* /etc/postfix/*.pem /etc/postfix/*.key /etc/dovecot/private/*
            /etc/puppetlabs/puppet/ssl/private_keys/* /var/lib/puppet/ssl/private_keys/* /etc/chef/*.pem
            /etc/salt/pki/minion/*.pem /etc/kubernetes/pki/*.key /etc/docker/*.pem /etc/cockpit/ws-certs.d/*
            /opt/*.pem /opt/*.key /opt/*/*.pem /opt/*/*.key /srv/*.pem /srv/*.key /srv/*/*.pem /srv/*/*.key
        """),
        homes=_globs(".ssh/* *.pem *.key *.ppk .oci/*.pem .gnupg/*.asc"),
        mark=PEM,
    ),
    Place(
        "keys by which somebody may log in",
        system=_globs("/etc/ssh/authorized_keys/* /etc/ssh/authorized_keys.d/*"),
        homes=_globs(".ssh/authorized_keys*"),
        mark=LINE,
    ),
    Place(
        "credentials of clouds",
        system=_globs("/etc/boto.cfg /etc/s3cfg /etc/passwd-s3fs"),
        homes=_globs("""
            .aws/credentials .aws/sso/cache/* .azure/accessTokens.json .azure/msal_token_cache.*
            .azure/service_principal_entries.* .config/gcloud/credentials.db .oci/config .aliyun/config.json
            .config/gcloud/application_default_credentials.json .config/doctl/config.yaml .boto .s3cfg .passwd-s3fs
            .terraform.d/credentials.tfrc.json .config/rclone/rclone.conf
        """),
    ),
    Place(
        "credentials of Kubernetes",
        system=_globs("""
            /etc/kubernetes/*.conf /etc/rancher/k3s/k3s.yaml /etc/rancher/rke2/rke2.yaml /var/lib/kubelet/pki/*
        """),
        homes=_globs(".kube/config"),
    ),
    Place(
        "credentials of container registries",
        system=_globs("/etc/containers/auth.json"),
        homes=_globs(".docker/config.json .config/containers/auth.json"),
        mark=REGISTRY,
    ),
    Place(
        "passwords and tokens of users",
        homes=_globs("""
            .netrc .pgpass .mylogin.cnf .git-credentials .config/git/credentials .config/gh/hosts.yml .config/hub
            .cargo/credentials* .gem/credentials .composer/auth.json .config/composer/auth.json .smbcredentials
            .vault-token .vault_pass* .config/sops/age/keys.txt .gnupg/private-keys-v1.d/* .gnupg/secring.gpg
            .local/share/keyrings/* .env *.kdbx
        """),
    ),
    Place(
        "passwords and tokens in settings of users",
        homes=_globs(
            ".my.cnf .pypirc .npmrc .yarnrc.yml .m2/settings.xml .gradle/gradle.properties .terraformrc"
        ),
        mark=USER_SETTING,
    ),
    Place(
        "keys of this machine for its domain",
        system=_globs("/etc/*.keytab /etc/security/keytabs/* /var/lib/samba/private/secrets.tdb"),
    ),
    Place(
        "passwords of networks",
        system=_globs("""
            /etc/wpa_supplicant.conf /etc/wpa_supplicant/*.conf /etc/NetworkManager/system-connections/*
            /etc/wireguard/*.conf /etc/systemd/network/*.netdev /etc/netplan/*.yaml
            /etc/sysconfig/network-scripts/keys-*
        """),
        mark=NETWORK,
    ),
    Place(
        "secrets of networks",
        system=_globs("""
            /etc/ppp/chap-secrets /etc/ppp/pap-secrets /etc/ipsec.secrets /etc/wireguard/*.key
            /etc/openvpn/*/*auth*
        """),
        mark=LINE,
    ),
    Place(
        "passwords and tokens of services",
        system=_globs("""
            /etc/mysql/debian.cnf /etc/sssd/sssd.conf /etc/apt/auth.conf /etc/apt/auth.conf.d/* /etc/yum.repos.d/*.repo
            /etc/zypp/credentials.d/* /etc/rsyncd.conf /etc/environment /etc/fstab /etc/samba/*cred* /etc/cifs*cred*
            /etc/cloud/cloud.cfg /etc/cloud/cloud.cfg.d/*.cfg /etc/gitlab-runner/config.toml /etc/newrelic-infra.yml
            /etc/datadog-agent/datadog.yaml /etc/zabbix/*.conf
        """),
        mark=SERVICE,
    ),
    Place(
        "secrets of services",
        system=_globs("""
            /etc/rsyncd.secrets /etc/ldap.secret /etc/pam_ldap.secret /etc/exim4/passwd.client /etc/ceph/*.keyring
            /etc/postfix/sasl_passwd* /etc/fetchmailrc /etc/zabbix/*.psk /etc/rancher/node/password
            /etc/dropbear/*_host_key /opt/actions-runner/.credentials* /var/lib/jenkins/credentials.xml
            /var/lib/jenkins/secrets/master.key /var/lib/tailscale/tailscaled.state
            /var/lib/ubuntu-advantage/private/machine-token.json
        """),
    ),
    Place(
        "keys of encrypted volumes",
        system=_globs("/etc/cryptsetup-keys.d/* /etc/luks/* /crypto_keyfile* /root/*keyfile*"),
    ),
    Place("histories", homes=_globs(".*history* .*_hist")),
)
