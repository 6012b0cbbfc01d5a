# 2026-01-02 03:04:05 by RouterOS 7.22.3
/ip ipsec policy group add name=ike2-policies
/ip ipsec profile add name=ike2
/ip ipsec peer add exchange-mode=ike2 name=ike2 passive=yes profile=ike2
/ip ipsec proposal add name=ike2 pfs-group=none
/ip pool add name=ike2-pool ranges=192.168.77.2-192.168.77.254
/ip ipsec mode-config add address-pool=ike2-pool address-prefix-length=32 name=ike2-conf
/ip ipsec identity add auth-method=eap-radius certificate="letsencrypt_2021-04-09T07:10:55Z" generate-policy=port-strict mode-config=ike2-conf peer=ike2 policy-template-group=ike2-policies
/ip ipsec policy add dst-address=192.168.77.0/24 group=ike2-policies proposal=ike2 src-address=0.0.0.0/0 template=yes
/ip ipsec settings set accounting=yes interim-update=1m
/radius add address=127.0.0.1 service=ipsec
/radius incoming set accept=yes
/user-manager set certificate="letsencrypt_2021-04-09T07:10:55Z" enabled=yes
/user-manager router add address=127.0.0.1 comment=localhost name=local
/system logging add action=memory topics=ipsec,!debug
#error exporting "/interface/wifi" (timeout)
