# jan/02/2020 03:04:05 by RouterOS 6.47
# software id = ABCD-1234
#
# model = RB4011iGS+
# serial number = 0123456789AB
/interface bridge
add name=bridge1
/interface vlan
add interface=ether1 name=vlan90 vlan-id=90
/ip ipsec profile
add dh-group=modp2048 enc-algorithm=aes-128 name=ike1-site2
/ip ipsec peer
# This entry is unreachable
add address=192.168.80.1/32 name=ike1-site2 profile=ike1-site2
/ip ipsec proposal
add enc-algorithms=aes-128-cbc name=ike1-site2 pfs-group=modp2048
/interface bridge port
add bridge=bridge1 interface=ether2
/ip address
add address=192.168.90.1/24 interface=vlan90 network=192.168.90.0
add address=10.1.202.1/24 interface=bridge1 network=10.1.202.0
/ip firewall filter
add action=accept chain=forward connection-state=established,related dst-address=10.1.202.0/24 src-address=10.1.101.0/24
add action=accept chain=forward connection-state=established,related dst-address=10.1.101.0/24 src-address=10.1.202.0/24
add action=fasttrack-connection chain=forward connection-state=established,related
/ip firewall nat
add action=accept chain=srcnat dst-address=10.1.101.0/24 src-address=10.1.202.0/24
add action=masquerade chain=srcnat out-interface=vlan90
/ip ipsec identity
add peer=ike1-site2 secret=thisisnotasecurepsk
/ip ipsec policy
add dst-address=10.1.101.0/24 peer=ike1-site2 proposal=ike1-site2 sa-dst-address=192.168.80.1 sa-src-address=0.0.0.0 \
    src-address=10.1.202.0/24 tunnel=yes
/ip route
add check-gateway=ping distance=1 gateway=192.168.90.254
add distance=1 dst-address=10.0.0.0/8 type=blackhole
/system clock
set time-zone-name=Europe/Riga
/system identity
set name=office1
