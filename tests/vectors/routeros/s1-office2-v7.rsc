# 2026-01-02 03:04:05 by RouterOS 7.22.3
# software id = ABCD-1234
#
# model = CCR2004-16G-2S+
/interface/bridge
add name=bridge
/interface/bridge/port
add bridge=bridge interface=ether2
/ip/ipsec/profile
set [ find default=yes ] dpd-interval=2m dpd-maximum-failures=5
add dh-group=modp2048 enc-algorithm=aes-256 hash-algorithm=sha256 name=ike2-site1
/ip/ipsec/peer
add address=192.168.90.1/32 exchange-mode=ike2 local-address=192.168.80.1 name=ike2-site1 profile=ike2-site1
/ip/ipsec/proposal
add auth-algorithms="" enc-algorithms=aes-256-gcm,aes-128-gcm name=ike2-site1 pfs-group=ecp256
/ip/address
add address=192.168.80.1/24 interface=ether1 network=192.168.80.0
add address=10.1.101.1/24 interface=bridge network=\
    10.1.101.0
/ipv6/address
add address=2001:db8:101::1 advertise=no interface=bridge
/ip/firewall/raw
add action=notrack chain=prerouting dst-address=10.1.202.0/24 src-address=10.1.101.0/24
add action=notrack chain=prerouting dst-address=10.1.101.0/24 src-address=10.1.202.0/24
/ip/ipsec/identity
add peer=ike2-site1 secret="0x00112233445566778899aabbccddeeff"
/ip/ipsec/policy
add comment="LAN to LAN of site 1; written by hand, and long enough for the export to break the line within the \
    comment" dst-address=10.1.202.0/24 peer=ike2-site1 proposal=ike2-site1 src-address=10.1.101.0/24 tunnel=yes
/ip/route
add disabled=no distance=1 dst-address=0.0.0.0/0 gateway=192.168.80.254 pref-src="" routing-table=main scope=30 \
    suppress-hw-offload=no target-scope=10
add blackhole disabled=no dst-address=10.1.202.0/24 distance=240
/system/identity
set name=office2
