# may/05/2019 05:05:05 by RouterOS 6.45.1
/interface l2tp-client
add connect-to=1.1.1.1 disabled=no ipsec-secret=mySecret name=l2tp-out1 password=123 use-ipsec=yes user=user1
/ip pool
add name=vpn-pool ranges=192.168.99.2-192.168.99.100
/ppp profile
set *0 local-address=192.168.99.1 remote-address=vpn-pool
/interface l2tp-server server
set default-profile=default enabled=yes ipsec-secret=mySecret use-ipsec=required
/ip ipsec proposal
set [ find default=yes ] enc-algorithms=aes-128-cbc
/ip route
add distance=5 dst-address=10.50.0.0/16 gateway=l2tp-out1
/ppp secret
add name=user1 password=123
add name=user2 password=234
