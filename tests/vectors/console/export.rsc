/system
set crypto.engines=native,ring memory=512M name=gw sa-slots=8192 workers=1,2
/interface
add comment=uplink device=pci:0000:01:00.0 name=wan
add device=af-xdp:eth1 mac-address=02:00:00:00:00:01 mtu=9000 name=lan
add disabled=yes name=guests vlan.interface=lan vlan.vlan-id=20
/ip pool
add name=ike2-pool next-pool=spare ranges=192.168.77.2-192.168.77.254
add name=spare ranges=192.168.78.0/24,192.168.79.7/32
/certificate
add file=/etc/espway/ca.pem name=ca trusted=yes
add file=/etc/espway/server1.pem key-file=/etc/espway/server1.key name=server1
/radius
add address=10.1.0.5 secret="radius secret" service=ipsec timeout=500ms
add accounting-backup=yes address=10.1.0.6 disabled=yes service=ipsec,ppp
/ip ipsec mode-config
add address-pool=ike2-pool address-prefix-length=32 name=ike2-conf \
    split-include=10.1.0.0/24,10.5.8.0/24 static-dns=10.1.0.53 system-dns=no
/ip ipsec policy group
add comment="for callers" name=ike2-policies
/ip ipsec profile
set [ find default=yes ] dh-group=modp2048 hash-algorithm=sha256
add dh-group=x25519,ecp256 dpd-interval=8s enc-algorithm=aes-256-gcm,aes-256 hash-algorithm=sha256 \
    lifetime=8h name=ike2
/ip ipsec peer
add address=203.0.113.2/32 comment="branch office" exchange-mode=ike2 local-address=198.51.100.2 \
    name=site-b profile=ike2
add exchange-mode=ike2 name=road passive=yes profile=ike2
add address=203.0.113.99/32 disabled=yes name=old send-initial-contact=no
/ip ipsec proposal
set [ find default=yes ] pfs-group=none
add auth-algorithms=null enc-algorithms=aes-256-gcm,aes-128-gcm lifetime=1h name=esp \
    pfs-group=x25519
add disabled=yes name=unused
/ip ipsec key rsa
add file=/etc/espway/gw-key.pem name=gw-key
/ip ipsec key psk
add id=sixteen-characters key=0x00112233445566778899aabbccddeeff peer=site-b
/ip ipsec identity
add my-id=fqdn:gw.example peer=site-b remote-id=fqdn:b.example \
    secret="a lab's secret, known to everyone"
add auth-method=digital-signature certificate=server1 comment="road \"warriors\"" \
    generate-policy=port-strict mode-config=ike2-conf peer=road \
    policy-template-group=ike2-policies
add disabled=yes peer=old secret=0x00112233
/ip ipsec policy
add comment="IPv4 between the sites" dst-address=10.2.0.0/24 peer=site-b proposal=esp \
    src-address=10.1.0.0/24 tunnel=yes
add dst-address=fd00:b::/64 peer=site-b proposal=esp src-address=fd00:a::/64 tunnel=yes
add action=discard disabled=yes dst-address=10.3.0.0/24 dst-port=5060 protocol=udp \
    src-address=10.1.0.0/24
add dst-address=192.168.77.0/24 group=ike2-policies proposal=esp src-address=0.0.0.0/0 \
    template=yes
/ip ipsec manual-sa
add direction=out enc-algorithm=aes-128-gcm enc-key=0x000102030405060708090a0b0c0d0e0f10111213 \
    local-address=198.51.100.2 policy=0 remote-address=203.0.113.2 spi=4097
/ip ipsec settings
set ddos-cookie-threshold=50
/system api
set certificate-file=/etc/espway/api.pem enabled=yes key-file=/etc/espway/api.key
/system api user
add comment=Grafana expires=2027-01-31 name=monitoring token="a token of more than 24 characters"
add certificate-name=admin@example.org name=admin roles=read,write
/system logging
add topics="ipsec,!debug"
add action=disk disabled=yes prefix="vpn: " topics=ipsec,error
/ip address
add address=198.51.100.2/24 interface=wan
add address=10.1.0.1/24 comment="office, first floor" interface=lan
add address=fd00:a::1/64 interface=lan
/ip route
add gateway=198.51.100.1
add blackhole=yes comment="nowhere else" distance=250 dst-address=10.9.0.0/16
