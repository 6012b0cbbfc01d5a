# mar/14/2021 10:20:30 by RouterOS 6.48.6
# software id = ABCD-1234
#
/interface bridge
add name=loopback
/interface gre
add allow-fast-path=no local-address=192.168.99.1 name=gre-tunnel1 remote-address=192.168.99.2
/ip ipsec mode-config
add address=192.168.99.2 address-prefix-length=32 name=ike2-gre split-include=192.168.99.1/32 system-dns=no
/ip ipsec policy group
add name=ike2-gre
/ip ipsec profile
add dh-group=ecp256,modp2048,modp1024 enc-algorithm=aes-256,aes-192,aes-128 name=ike2
/ip ipsec peer
add exchange-mode=ike2 name=ike2 passive=yes profile=ike2
/ip ipsec proposal
add auth-algorithms=null enc-algorithms=aes-128-gcm name=ike2-gre pfs-group=none
/ip address
add address=192.168.99.1 interface=loopback network=192.168.99.1
add address=172.16.1.1/30 interface=gre-tunnel1 network=172.16.1.0
/ip ipsec identity
add generate-policy=port-strict mode-config=ike2-gre peer=ike2 policy-template-group=ike2-gre secret=test
/ip ipsec policy
add dst-address=192.168.99.2/32 group=ike2-gre proposal=ike2-gre src-address=192.168.99.1/32 template=yes
/ip route
add distance=1 dst-address=10.1.202.0/24 gateway=172.16.1.2
add distance=1 dst-address=10.1.203.0/24 gateway=gre-tunnel1
