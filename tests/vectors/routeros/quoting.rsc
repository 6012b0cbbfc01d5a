# 2026-01-02 03:04:05 by RouterOS 7.22.3
/ip ipsec peer
add address=198.51.100.1 comment="caf\C3\A9 \E9 � \"quoted\" back\\slash \$5 what\? a\_b" exchange-mode=ike2 name=\
    "peer with spaces/and slash"
add address=198.51.100.2 comment="two\r\nlines; semi=colon #hash [b] {c}" exchange-mode=ike2 name=péer
add address=198.51.100.3 exchange-mode=ike2 name="open
add address=198.51.100.4 exchange-mode=ike2 name=after
/ip ipsec identity
add peer="peer with spaces/and slash" secret="s p a c e \"q\" \\ \$x"
add peer=péer secret=$variable
add peer=after secret="a;b"; add peer=nobody secret=x
