#!/usr/bin/python3
"""Writes modes.json: ESP in transport mode, AH in both modes, made by scapy's IPsec layer. Deterministic, as generate.py.

"ours" is false where this gateway builds another, equally right packet (where destination options stand), so that only
opening is compared.
"""
import hashlib
import hmac
import json
import os

from scapy.all import ICMP, IP, TCP, UDP, IPOption, IPv6, Raw
from scapy.layers.inet import IPOption_LSRR, IPOption_NOP, IPOption_Router_Alert, IPOption_RR
from scapy.layers.inet6 import HBHOptUnknown, IPv6ExtHdrDestOpt, IPv6ExtHdrHopByHop, PadN, RouterAlert
from scapy.layers.ipsec import AH, ESP, SecurityAssociation

SUITES = {  # RouterOS's name: scapy's cipher, key, salt, scapy's integrity, key
    "aes-128-gcm": ("AES-GCM", 16, 4, None, 0),
    "chacha20poly1305": ("CHACHA20-POLY1305", 32, 4, None, 0),
    "aes-256-cbc/sha256": ("AES-CBC", 32, 0, "SHA2-256-128", 32),
    "null/sha1": ("NULL", 0, 0, "HMAC-SHA1-96", 20),
    "null/sha256": ("NULL", 0, 0, "SHA2-256-128", 32),
    "null/sha384": ("NULL", 0, 0, "SHA2-384-192", 48),
    "null/sha512": ("NULL", 0, 0, "SHA2-512-256", 64),
}
A4, B4, A6, B6 = "192.0.2.1", "192.0.2.2", "2001:db8:f::1", "2001:db8:f::2"


def stream(label, n):
    """Bytes that look random and are the same every time."""
    return hashlib.shake_128(label.encode()).digest(n)


def head(v6, **more):
    if v6:
        return IPv6(src=A6, dst=B6, hlim=57, tc=0x2A, fl=0x12345, **more)
    return IP(src=A4, dst=B4, ttl=57, id=7, flags="DF", tos=0x2A, **more)


def packets():
    """Name, whether our place for the header is the same, packet."""
    for v6 in (False, True):
        for size in (0, 1, 2, 3, 13, 64, 1200):
            yield f"udp {size}", True, head(v6) / UDP(sport=4000, dport=1701) / Raw(stream(f"udp {size}", size))
        yield "tcp", True, head(v6) / TCP(sport=4000, dport=179, flags="PA", seq=9) / Raw(stream("tcp", 100))
    yield "gre", True, head(False, proto=47) / Raw(b"\0\0\x08\0" + stream("gre", 60))
    yield "ipip", True, head(False) / IP(src="10.1.0.10", dst="10.2.0.10") / UDP(sport=1, dport=2) / Raw(b"inner")
    yield "icmp", True, head(False) / ICMP(id=7, seq=1) / Raw(b"espway")
    alert = IPOption_Router_Alert()
    yield "ipv4 router alert", True, head(False, options=[alert]) / UDP(sport=5, dport=6) / Raw(b"alert")
    route = IPOption_RR(routers=["10.0.0.1", "0.0.0.0"])
    yield "ipv4 record route", True, head(False, options=[route, IPOption_NOP()]) / UDP(sport=5, dport=6) / Raw(b"route")
    stamp = IPOption(b"\x44\x0c\x05\x00" + bytes(8))
    yield "ipv4 time stamp", True, head(False, options=[stamp]) / UDP(sport=5, dport=6) / Raw(b"stamp")
    source = IPOption_LSRR(routers=["10.0.0.1"], pointer=8)
    yield "ipv4 source route", False, head(False, options=[source, IPOption_NOP()]) / UDP(sport=5, dport=6) / Raw(b"source")
    hop = IPv6ExtHdrHopByHop(options=[RouterAlert(value=1), PadN(optdata=b"")])
    yield "ipv6 hop-by-hop", True, head(True) / hop / UDP(sport=5, dport=6) / Raw(b"hop")
    changing = IPv6ExtHdrHopByHop(options=[HBHOptUnknown(otype=0x3E, optdata=b"\1\2\3\4")])
    yield "ipv6 changing option", True, head(True) / changing / UDP(sport=5, dport=6) / Raw(b"change")
    dest = IPv6ExtHdrDestOpt(options=[HBHOptUnknown(otype=0x1E, optdata=b"\1\2\3\4")])
    yield "ipv6 destination options", False, head(True) / dest / UDP(sport=5, dport=6) / Raw(b"dest")


class SignsHighHalf:
    """scapy 2.5 does not sign the high half of ESP's sequence number (RFC 4303 2.2.1)."""

    def __init__(self, high):
        self.icv_size, self.high = 16, high

    def sign(self, esp, key):
        esp.data += hmac.digest(key, bytes(esp) + self.high.to_bytes(4, "big"), "sha256")[: self.icv_size]
        return esp


def fixed(raw, v6, encap):
    """The checksum, and what scapy leaves of the UDP length."""
    raw = bytearray(raw)
    if encap:
        at = 40 if v6 else (raw[0] & 15) * 4
        raw[at + 4 : at + 6] = (len(raw) - at).to_bytes(2, "big")
        raw[at + 6 : at + 8] = b"\0\0"
        if v6:
            raw[4:6] = (len(raw) - 40).to_bytes(2, "big")
        else:
            raw[2:4] = len(raw).to_bytes(2, "big")
    if not v6:
        size = (raw[0] & 15) * 4
        raw[10:12] = b"\0\0"
        total = sum(int.from_bytes(raw[n : n + 2], "big") for n in range(0, size, 2))
        while total > 0xFFFF:
            total = (total & 0xFFFF) + (total >> 16)
        raw[10:12] = (total ^ 0xFFFF).to_bytes(2, "big")
    return bytes(raw)


def build(proto, suite, name, ours, pkt, seq, esn=False, encap=False, tunnel=None):
    cipher, key_len, salt_len, auth, auth_len = SUITES[suite]
    v6 = IPv6 in pkt and pkt.version == 6
    label = f"{proto} {'tunnel' if tunnel else 'transport'} {suite} ipv{6 if v6 else 4} {name}{' udp' if encap else ''}{' esn' if esn else ''} {seq:#x}"
    pkt = pkt.__class__(bytes(pkt))
    clear = bytes(pkt)
    key, salt, akey = stream("key " + label, key_len), stream("salt " + label, salt_len), stream("auth " + label, auth_len)
    args = {"spi": 0x1000_0021, "esn_en": esn, "esn": seq >> 32}
    if auth:
        args.update(auth_algo=auth, auth_key=akey)
    if encap:
        args["nat_t_header"] = UDP(sport=4500, dport=4500, chksum=0)
    if tunnel:
        args["tunnel_header"] = tunnel
    if proto == "ah":
        sa = SecurityAssociation(AH, **args)
        enc = sa.encrypt(pkt, seq_num=seq & 0xFFFFFFFF, esn_en=esn, esn=seq >> 32)
    else:
        crypt = {"crypt_algo": cipher, "crypt_key": key + salt} if cipher != "NULL" else {"crypt_algo": "NULL"}
        sa = SecurityAssociation(ESP, **crypt, **args)
        if esn and auth:
            sa.auth_algo = SignsHighHalf(seq >> 32)
        counts = cipher in ("AES-GCM", "CHACHA20-POLY1305")
        iv = seq.to_bytes(8, "big") if counts else stream("iv " + label, 16) if cipher == "AES-CBC" else None
        enc = sa.encrypt(pkt, seq_num=seq & 0xFFFFFFFF, esn_en=esn, esn=seq >> 32, **({"iv": iv} if iv else {}))
    outer6 = tunnel.version == 6 if tunnel else v6
    return {
        "name": label, "protocol": proto, "tunnel": bool(tunnel), "suite": suite, "key": key.hex(), "salt": salt.hex(),
        "auth_key": akey.hex(), "spi": 0x1000_0021, "seq": seq, "esn": esn, "encap": encap, "ours": ours,
        "outer_v6": outer6, "inner_v6": v6, "clear": clear.hex(), "protected": fixed(bytes(enc), outer6, encap).hex(),
    }


def inner(v6):
    body = Raw(stream("body", 60))
    if v6:
        return IPv6(src="2001:db8:1::10", dst="2001:db8:2::10", hlim=63, tc=0xB8) / UDP(sport=4000, dport=53) / body
    return IP(src="10.1.0.10", dst="10.2.0.10", ttl=63, id=7, flags="DF", tos=0x2A) / UDP(sport=4000, dport=53) / body


def main():
    vectors = []
    for name, ours, pkt in packets():
        for suite in ("aes-128-gcm", "aes-256-cbc/sha256", "null/sha1"):
            vectors.append(build("esp", suite, name, ours, pkt, 5))
        for suite in ("null/sha1", "null/sha256"):
            vectors.append(build("ah", suite, name, ours, pkt, 5))
    for v6 in (False, True):
        pkt = head(v6) / UDP(sport=4000, dport=1701) / Raw(stream("more", 77))
        vectors.append(build("esp", "chacha20poly1305", "more", True, pkt, 6))
        vectors.append(build("esp", "aes-128-gcm", "more", True, pkt, 6, encap=True))
        vectors.append(build("esp", "aes-256-cbc/sha256", "more", True, pkt, 6, encap=True))
        for seq in (0xFFFFFFFF, 0x100000001):
            vectors.append(build("esp", "aes-128-gcm", "more", True, pkt, seq, esn=True))
            vectors.append(build("esp", "aes-256-cbc/sha256", "more", True, pkt, seq, esn=True))
            vectors.append(build("ah", "null/sha256", "more", True, pkt, seq, esn=True))
        for suite in ("null/sha384", "null/sha512"):
            vectors.append(build("ah", suite, "more", True, pkt, 7))
        for in6 in (False, True):
            pkt = inner(in6)
            tos = 0xB8 if in6 else 0x2A
            outer = IPv6(src=A6, dst=B6, hlim=64, tc=tos) if v6 else IP(src=A4, dst=B4, ttl=64, id=8, tos=tos, flags="DF")
            for suite in ("null/sha1", "null/sha256", "null/sha512"):
                vectors.append(build("ah", suite, "inner", True, pkt, 8, tunnel=outer))
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "modes.json")
    with open(path, "w") as f:
        json.dump({"note": "made by generate_modes.py with scapy; see README.md", "vectors": vectors}, f, indent=1)
        f.write("\n")
    print(len(vectors))


main()
