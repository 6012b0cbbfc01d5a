# 2026-01-02 03:04:05 by RouterOS 7.8
/ip ipsec profile
add dh-group=modp768 enc-algorithm=aes-128 hash-algorithm=md5 name=to_tencent
/ip ipsec peer
add address=119.91.254.122/32 name=to_tencent profile=to_tencent
/ip ipsec proposal
add auth-algorithms=md5 enc-algorithms=aes-128-cbc,twofish,camellia-256 name=to_tencent pfs-group=none
/ip ipsec identity
add peer=to_tencent
/ip ipsec policy
add dst-address=10.100.1.0/24 peer=to_tencent proposal=to_tencent src-address=192.168.1.0/24 tunnel=yes
