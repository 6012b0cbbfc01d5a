# 2026-01-02 03:04:05 by RouterOS 7.22.3
/interface gre
add local-address=192.168.99.2 name=gre-tunnel1 remote-address=192.168.99.1
/ip ipsec mode-config
add name=ike2-gre responder=no use-responder-dns=no
/ip ipsec policy group
add name=ike2-gre
/ip ipsec profile
add dh-group=ecp256 enc-algorithm=aes-256 name=ike2-gre
/ip ipsec peer
add address=n.mynetname.net exchange-mode=ike2 name=p1.ez profile=ike2-gre
/ip ipsec proposal
add auth-algorithms=null enc-algorithms=aes-128-gcm name=ike2-gre pfs-group=none
/ip address
add address=172.16.1.2/30 interface=gre-tunnel1 network=172.16.1.0
/ip ipsec identity
add generate-policy=port-strict mode-config=ike2-gre peer=p1.ez policy-template-group=ike2-gre
/ip ipsec policy
add dst-address=192.168.99.1/32 group=ike2-gre proposal=ike2-gre src-address=192.168.99.2/32 template=yes
/ip route
add disabled=no dst-address=10.1.101.0/24 gateway=172.16.1.1 routing-table=main suppress-hw-offload=no
