# sep/11/2018 09:09:09 by RouterOS 6.43
/ip ipsec peer profile
set [ find default=yes ] dh-group=modp2048 enc-algorithm=aes-256
add dh-group=modp1024 dpd-interval=30s enc-algorithm=aes-128 name=old
/ip address
add address=10.155.107.8/24 interface=ether1 network=10.155.107.0
add address=172.22.2.1/24 interface=ether2 network=172.22.2.0
add address=172.22.2.2/24 interface=ether2 network=172.22.2.0
add address=192.0.2.1 interface=ether3 network=192.0.2.9
/ip firewall mangle
add action=mark-routing chain=output connection-mark=ipsec new-routing-mark=backup passthrough=no
/ip ipsec peer
add address=10.155.130.136/32 auth-method=rsa-signature certificate=gw local-address=10.155.107.8 profile=old \
    remote-certificate=none
/ip ipsec policy
add dst-address=172.16.0.0/24 sa-dst-address=10.155.130.136 sa-src-address=10.155.107.8 src-address=192.168.1.0/24 \
    tunnel=yes
/ip route
add distance=1 gateway=10.155.107.1 routing-mark=backup
add distance=1 gateway=172.22.2.115,172.22.2.116
add distance=2 gateway=172.22.2.117%ether2 pref-src=172.22.2.3
