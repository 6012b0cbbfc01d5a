# jan/02/2018 03:04:05 by RouterOS 6.40.9
# software id = ABCD-1234
#
# model = 2011UiAS
/interface bridge
add name=bridge-lan
/interface ethernet
set [ find default-name=ether1 ] comment="to the provider" name=ether1-wan
set [ find default-name=ether2 ] name=ether2-lan
/ip ipsec proposal
set [ find default=yes ] enc-algorithms=aes-256-cbc,aes-128-cbc,3des
add auth-algorithms=sha256 enc-algorithms=aes-256-cbc lifetime=1h name="to site2" pfs-group=modp2048
/interface bridge port
add bridge=bridge-lan interface=ether2-lan
add bridge=bridge-lan interface=ether3
/ip address
add address=192.168.90.1/24 interface=ether1-wan network=192.168.90.0
add address=10.1.202.1/24 interface=bridge-lan network=10.1.202.0
/ip dns
set servers=192.0.2.53
/ip firewall nat
add action=accept chain=srcnat dst-address=10.1.101.0/24 src-address=10.1.202.0/24
add action=masquerade chain=srcnat out-interface=ether1-wan
/ip ipsec peer
add address=192.168.80.1/32 dh-group=modp2048 dpd-interval=disable-dpd enc-algorithm=aes-256,3des hash-algorithm=sha256 \
    lifetime=8h nat-traversal=no secret="this is not \"a secure\" psk"
add address=0.0.0.0/0 comment="road warriors" enc-algorithm=aes-256,aes-128 exchange-mode=main-l2tp generate-policy=\
    port-override passive=yes secret=another-key send-initial-contact=no
/ip ipsec policy
set 0 disabled=yes
add dst-address=10.1.101.0/24 priority=2 proposal="to site2" sa-dst-address=192.168.80.1 sa-src-address=192.168.90.1 \
    src-address=10.1.202.0/24 tunnel=yes
/ip route
add distance=1 gateway=192.168.90.254
/system identity
set name="Office 1"
