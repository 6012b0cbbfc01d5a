# oct/06/2021 11:12:13 by RouterOS 6.49.18
/ip ipsec mode-config
set [ find default=yes ] src-address-list=local-RW
add name=ike2-rw responder=no src-address-list=local
/ip ipsec policy group
add name=ike2-rw
/ip ipsec profile
add name=ike2-rw
/ip ipsec peer
add address=2.2.2.2/32 exchange-mode=ike2 name=ike2-rw-client profile=ike2-rw send-initial-contact=no
/ip ipsec proposal
add name=ike2-rw pfs-group=none
/ip firewall address-list
add address=192.168.88.0/24 list=local
add address=192.168.88.0/24 list=local-RW
/ip ipsec identity
add auth-method=digital-signature certificate=cert_export_RouterOS_client.p12_0 generate-policy=port-strict mode-config=\
    ike2-rw my-id=user-fqdn:rw@site.example peer=ike2-rw-client policy-template-group=ike2-rw remote-id=fqdn:gw.example
add auth-method=eap certificate="" eap-methods=eap-mschapv2 peer=ike2-rw-client username=user1
/ip ipsec policy
set [ find default=yes ] disabled=yes
add group=ike2-rw proposal=ike2-rw template=yes
