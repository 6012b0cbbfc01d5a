# 2026-01-02 03:04:05 by RouterOS 7.22.3
# software id = ABCD-1234
/interface list
add name=WAN
/ip ipsec policy group
add name=ike2-policies
/ip ipsec profile
set [ find default=yes ] dh-group=modp2048 enc-algorithm=aes-256
add dh-group=ecp256,modp2048 enc-algorithm=aes-256,aes-128 hash-algorithm=sha256 name=ike2
/ip ipsec peer
add exchange-mode=ike2 name=ike2 passive=yes profile=ike2
/ip ipsec proposal
add auth-algorithms=sha256,sha1 name=ike2 pfs-group=none
/ip pool
add name=ike2-pool ranges=192.168.77.2-192.168.77.254
add name=spare next-pool=ike2-pool ranges=192.168.78.0/25,192.168.79.7
/ip ipsec mode-config
add address-pool=ike2-pool address-prefix-length=32 name=ike2-conf split-include=10.5.8.0/24,192.168.55.0/24 \
    static-dns=10.5.8.1 system-dns=no
add address=192.168.66.2 address-prefix-length=32 name=usr_A split-include=192.168.55.0/24 system-dns=no
/ip address
add address=2.2.2.2/24 interface=ether1 network=2.2.2.0
/ip firewall filter
add action=drop chain=forward dst-address=!10.5.8.0/24 src-address=192.168.77.0/24
/ip ipsec identity
# Suggestion to use stronger pre-shared key or different authentication method
add auth-method=digital-signature certificate=server1 generate-policy=port-strict mode-config=ike2-conf peer=ike2 \
    policy-template-group=ike2-policies
add auth-method=digital-signature certificate=server1,intermediate comment="user A" generate-policy=port-strict match-by=\
    certificate mode-config=usr_A peer=ike2 policy-template-group=ike2-policies remote-certificate=rw-client1
/ip ipsec policy
add dst-address=192.168.77.0/24 group=ike2-policies proposal=ike2 src-address=0.0.0.0/0 template=yes
/ip ipsec settings
set interim-update=1m
