package main

import (
	"fmt"
	"net"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// addressesOf are those of a VM's card: what was said of it, or one that the card keeps, as from a DHCP server.
func (g *guests) addressesOf(said *said, number int, mac string) []string {
	switch {
	case said.nics != nil:
		if number < len(*said.nics) {
			return (*said.nics)[number]
		}
		return nil
	case said.addresses != nil:
		if number == 0 {
			return *said.addresses
		}
		return nil
	case g.l.guestNet == "":
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.addresses[mac] == "" {
		n := len(g.addresses)
		g.addresses[mac] = fmt.Sprintf("%s.%d.%d", g.l.guestNet, 1+n/250, 1+n%250)
	}
	return []string{g.addresses[mac], linkLocal(mac)}
}

// linkLocal is the IPv6 address that a host makes of its MAC.
func linkLocal(mac string) string {
	hardware, err := net.ParseMAC(mac)
	if err != nil || len(hardware) != 6 {
		return "fe80::1"
	}
	ip := net.IP{0xfe, 0x80, 0, 0, 0, 0, 0, 0, hardware[0] ^ 2, hardware[1], hardware[2], 0xff, 0xfe,
		hardware[3], hardware[4], hardware[5]}
	return ip.String()
}

func setAddresses(nic *types.GuestNicInfo, addresses []string) {
	nic.IpAddress = addresses
	nic.IpConfig = &types.NetIpConfigInfo{}
	for _, address := range addresses {
		prefix := int32(16)
		if strings.Contains(address, ":") {
			prefix = 64
		}
		nic.IpConfig.IpAddress = append(nic.IpConfig.IpAddress, types.NetIpConfigInfoIpAddress{
			IpAddress: address, PrefixLength: prefix, State: string(types.NetIpConfigInfoIpAddressStatusPreferred),
		})
	}
}

// firstAddress is what a vCenter shows as the guest's: an IPv4 address if there is any.
func firstAddress(nics []types.GuestNicInfo) string {
	other := ""
	for _, nic := range nics {
		for _, address := range nic.IpAddress {
			if !strings.Contains(address, ":") {
				return address
			}
			if other == "" && !strings.HasPrefix(address, "fe80:") {
				other = address
			}
		}
	}
	return other
}

func networkName(card *types.VirtualEthernetCard) string {
	switch backing := card.Backing.(type) {
	case *types.VirtualEthernetCardNetworkBackingInfo:
		return backing.DeviceName
	case *types.VirtualEthernetCardDistributedVirtualPortBackingInfo:
		ref := types.ManagedObjectReference{Type: "DistributedVirtualPortgroup", Value: backing.Port.PortgroupKey}
		if group, ok := simulator.Map.Get(ref).(*simulator.DistributedVirtualPortgroup); ok {
			return group.Name
		}
	}
	return ""
}
