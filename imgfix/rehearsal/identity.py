"""Who the new VM is: what Azure tells its agents, and how the rehearsal logs in."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

#: The host's servers as seen by a VM: https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16
WIRESERVER = "168.63.129.16"
IMDS = "169.254.169.254"

#: A virtual network's first addresses are the gateway's and two of Azure's own.
SUBNET, NETMASK, GATEWAY, ADDRESS, UNUSED_DNS = (
    *("10.0.0.0/24", "255.255.255.0"),
    *("10.0.0.1", "10.0.0.4", "10.0.0.3"),
)

#: What cloud-init and the agent take for Azure:
#: https://github.com/canonical/cloud-init/blob/main/cloudinit/sources/azure/identity.py
ASSET_TAG = "7783-7084-3265-9085-8269-3286-77"


@dataclass(frozen=True, slots=True)
class Identity:
    """One VM. `public_key` is a line of authorized_keys."""

    public_key: str
    host_name: str = "rehearsal"
    user: str = "azureuser"
    domain: str = "rehearsal.internal.cloudapp.net"
    mac: str = "00:0d:3a:7e:57:01"
    vm_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    container_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def instance(self) -> str:
        """The role instance's name in the goal state."""
        return f"_{self.host_name}"

    def ovf_environment(self) -> str:
        """Return ovf-env.xml as Azure writes it for a VM that is logged in to by key."""
        return _OVF.format(
            host=escape(self.host_name), user=escape(self.user), key=escape(self.public_key.strip())
        )


_OVF = """\
<?xml version="1.0" encoding="utf-8"?>
<ns0:Environment xmlns="http://schemas.dmtf.org/ovf/environment/1" \
xmlns:ns0="http://schemas.dmtf.org/ovf/environment/1" \
xmlns:ns1="http://schemas.microsoft.com/windowsazure" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
  <ns1:ProvisioningSection>
    <ns1:Version>1.0</ns1:Version>
    <ns1:LinuxProvisioningConfigurationSet>
      <ns1:ConfigurationSetType>LinuxProvisioningConfiguration</ns1:ConfigurationSetType>
      <ns1:UserName>{user}</ns1:UserName>
      <ns1:DisableSshPasswordAuthentication>true</ns1:DisableSshPasswordAuthentication>
      <ns1:HostName>{host}</ns1:HostName>
      <ns1:SSH>
        <ns1:PublicKeys>
          <ns1:PublicKey>
            <ns1:Fingerprint>EB0C0AB4B2D5FC35F2F0658D19F44C8283E2DD62</ns1:Fingerprint>
            <ns1:Path>/home/{user}/.ssh/authorized_keys</ns1:Path>
            <ns1:Value>{key}</ns1:Value>
          </ns1:PublicKey>
        </ns1:PublicKeys>
      </ns1:SSH>
    </ns1:LinuxProvisioningConfigurationSet>
  </ns1:ProvisioningSection>
  <ns1:PlatformSettingsSection>
    <ns1:Version>1.0</ns1:Version>
    <ns1:PlatformSettings>
      <ns1:KmsServerHostname>kms.core.windows.net</ns1:KmsServerHostname>
      <ns1:ProvisionGuestAgent>true</ns1:ProvisionGuestAgent>
      <ns1:GuestAgentPackageName xsi:nil="true"/>
      <ns1:RetainWindowsPEPassInUnattend>true</ns1:RetainWindowsPEPassInUnattend>
      <ns1:RetainOfflineServicingPassInUnattend>true</ns1:RetainOfflineServicingPassInUnattend>
      <ns1:PreprovisionedVm>false</ns1:PreprovisionedVm>
      <ns1:EnableTrustedImageIdentifier>false</ns1:EnableTrustedImageIdentifier>
    </ns1:PlatformSettings>
  </ns1:PlatformSettingsSection>
</ns0:Environment>
"""
