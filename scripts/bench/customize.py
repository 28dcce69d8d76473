"""The other side of the comparisons: what the vendors' pages say, as one virt-customize call a profile."""

from __future__ import annotations

_IDENTITY = (
    "rm -rf /var/lib/waagent /var/log/waagent.log /var/lib/cloud /etc/ssh/ssh_host_* /root/.bash_history"
    " /home/*/.bash_history; : >/etc/machine-id"
)
_CLOUD = (
    *("--edit", "/etc/fstab:$_ = '' if /\\sswap\\s/"),
    *("--edit", "/etc/waagent.conf:s/^#?\\s*Provisioning.Agent=.*/Provisioning.Agent=cloud-init/;"
      "s/^ResourceDisk.Format=y/ResourceDisk.Format=n/"),
    *("--write", "/etc/cloud/cloud.cfg.d/91-azure_datasource.cfg:datasource_list: [ Azure ]\n"),
)  # fmt: skip
_EL_ARGS = "rootdelay=300 console=ttyS0 earlyprintk=ttyS0 net.ifnames=0"
_EL_EDIT = r"s/ (rhgb|quiet|crashkernel=auto|resume=\S+|rd\.lvm\.lv=rhel\/swap)(?=[ \"])//g"
_DEBIAN_ARGS = "console=ttyS0 earlyprintk=ttyS0 net.ifnames=0"

#: Arguments of virt-customize by the profile whose end state they have.
CUSTOMIZE = {
    "debian": (
        *("--edit", f"/etc/default/grub:s/^(GRUB_CMDLINE_LINUX=\".*)\"/$1 {_DEBIAN_ARGS}\"/; s/ ?(quiet|splash)//g"),
        *("--run-command", "printf 'hv_vmbus\\nhv_storvsc\\nhv_netvsc\\n' >>/etc/initramfs-tools/modules"),
        *("--run-command", "sed -i s/^MODULES=.*/MODULES=most/ /etc/initramfs-tools/initramfs.conf"),
        *_CLOUD,
        *("--run-command", "systemctl enable walinuxagent cloud-init cloud-init-local cloud-config cloud-final ssh"),
        *("--run-command", "for i in /boot/initrd.img-*; do cp $i $i.bak; update-initramfs -u -k ${i#*img-}; done"),
        *("--run-command", "update-grub"),
        *("--run-command", f"rm -f /swapfile; {_IDENTITY}"),
    ),
    "rhel": (
        *("--edit", f"/etc/default/grub:{_EL_EDIT}; s/^(GRUB_CMDLINE_LINUX=\".*)\"/$1 {_EL_ARGS}\"/"),
        *("--run-command", f"sed -i -E '/^options/s/$/ {_EL_ARGS}/; s/ (rhgb|quiet|crashkernel=auto|resume=[^ ]+|"
          "rd.lvm.lv=rhel.swap)//g' /boot/loader/entries/*.conf"),
        *("--write", "/etc/dracut.conf.d/50-hyperv.conf:add_drivers+=\" hv_vmbus hv_storvsc hv_netvsc \"\n"),
        *_CLOUD,
        *("--run-command", "systemctl enable waagent cloud-init cloud-init-local cloud-config cloud-final sshd"),
        *("--run-command", "for k in /boot/vmlinuz-[1-9]*; do v=${k#/boot/vmlinuz-};"
          " cp /boot/initramfs-$v.img /boot/initramfs-$v.img.old;"
          " dracut -f --no-hostonly --no-hostonly-cmdline /boot/initramfs-$v.img $v; done"),
        *("--run-command", "grub2-mkconfig -o /boot/grub2/grub.cfg"),
        *("--run-command", _IDENTITY),
    ),
}  # fmt: skip
