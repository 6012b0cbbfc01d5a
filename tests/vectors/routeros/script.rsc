# by hand, without a header
:global lan 10.1.0.0/24
/ip ipsec {
    peer add name=west address=192.0.2.1 exch=ike2
    peer add name=east address=192.0.2.2 exch=ike2 copy-from=[ find name=west ] port=4500
    identity add peer=west secret=one; identity add peer=east secret=two
}
/ip ipsec policy
add peer=west src-address=10.1.0.0/24 dst-address=10.2.0.0/24 tunnel=yes comment=a
add peer=east src-address=$lan dst-address=10.3.0.0/24 tunnel=yes comment=b
add peer=east src-address=10.1.0.0/24 dst-address=10.4.0.0/24 tunnel=yes comment=c
add peer=east src-address=10.1.0.0/24 dst-address=10.5.0.0/24 tunnel=yes comment=d
move 4 1
disable [ find comment=c ]
remove [ find dst-address in 10.3.0.0/16 ]
set [ find where comment~"^d\$" ] level=unique
set 17 level=use
set *A disabled=yes
remove 0
comment [ find peer=west ] comment="the first"
:foreach i in=[find] do={ set $i disabled=yes }
/ip ipsec peer set west prot=5
/ip ipsec peer set west p=5
/ip ipsec policy add dynamic=yes peer=west src-address=10.1.0.0/24 dst-address=10.9.0.0/24 tunnel=yes
/queue simple add name=x target=10.0.0.0/8
/system reboot
print where disabled
