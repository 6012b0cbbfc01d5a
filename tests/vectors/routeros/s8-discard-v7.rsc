# 2026-01-02 03:04:05 by RouterOS 7.22.3
/ip ipsec peer
add address=192.168.33.1/32 exchange-mode=ike2 name=host
/ip firewall filter
add action=accept chain=input in-interface=WAN ipsec-policy=in,ipsec
add action=drop chain=input in-interface=WAN log=yes
/ip ipsec identity
add peer=host secret=abc my-id=key-id:"gate way" remote-id=ignore
/ip ipsec policy
add action=discard dst-address=0.0.0.0/0 protocol=udp sa-src-address=1.1.1.1 src-address=1.1.1.1/32 src-port=1701 tunnel=yes
add dst-address=192.168.33.1/32 peer=host protocol=gre src-address=1.1.1.1/32 level=unique
add action=none dst-address=192.168.88.7/24 src-address=192.168.88.0/24 place-before=[ find template=yes ]
add dst-address=10.0.0.0/8 peer=host,backup src-address=0.0.0.0/0 tunnel=yes ipsec-protocols=ah
