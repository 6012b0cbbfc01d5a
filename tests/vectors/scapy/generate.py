#!/usr/bin/python3
"""Writes esp.json: ESP tunnel packets made by scapy's IPsec layer. Needs python3-scapy and python3-cryptography.

Deterministic: the same script gives the same bytes, so a change of the file is a change of scapy or of this script.
"""
import hashlib
import hmac
import json
import os

from scapy.all import IP, UDP, IPv6, Raw
from scapy.layers.ipsec import ESP, SecurityAssociation

SUITES = {  # RouterOS's name: scapy's cipher, key, salt, scapy's integrity, key
    "aes-128-gcm": ("AES-GCM", 16, 4, None, 0),
    "aes-192-gcm": ("AES-GCM", 24, 4, None, 0),
    "aes-256-gcm": ("AES-GCM", 32, 4, None, 0),
    "chacha20poly1305": ("CHACHA20-POLY1305", 32, 4, None, 0),
    "aes-128-cbc/sha1": ("AES-CBC", 16, 0, "HMAC-SHA1-96", 20),
    "aes-256-cbc/sha256": ("AES-CBC", 32, 0, "SHA2-256-128", 32),
    "aes-192-cbc/sha384": ("AES-CBC", 24, 0, "SHA2-384-192", 48),
    "aes-256-cbc/sha512": ("AES-CBC", 32, 0, "SHA2-512-256", 64),
    "null/sha256": ("NULL", 0, 0, "SHA2-256-128", 32),
    "aes-128-ccm": ("AES-CCM", 16, 3, None, 0),
    "aes-192-ccm": ("AES-CCM", 24, 3, None, 0),
    "aes-256-ccm": ("AES-CCM", 32, 3, None, 0),
}
# Every pair of a cipher and an integrity algorithm that scapy has (and CAST, which the gateway lacks).
CIPHERS = {
    "null": ("NULL", 0, 0),
    "des": ("DES", 8, 0),
    "3des": ("3DES", 24, 0),
    "blowfish": ("Blowfish", 16, 0),
    "aes-128-cbc": ("AES-CBC", 16, 0),
    "aes-192-ctr": ("AES-CTR", 24, 4),
    "aes-256-ctr": ("AES-CTR", 32, 4),
}
HASHES = {
    "md5": ("HMAC-MD5-96", 16),
    "sha1": ("HMAC-SHA1-96", 20),
    "sha256": ("SHA2-256-128", 32),
    "sha384": ("SHA2-384-192", 48),
    "sha512": ("SHA2-512-256", 64),
    "aes-cmac": ("AES-CMAC-96", 16),
}
PAIRS = {f"{e}/{i}": (*c, *h) for e, c in CIPHERS.items() for i, h in HASHES.items()}
COUNTERS = ("AES-GCM", "AES-CTR", "AES-CCM", "CHACHA20-POLY1305")
RANDOM = {"AES-CBC": 16, "DES": 8, "3DES": 8, "Blowfish": 8}


class SignsHighHalf:
    def __init__(self, name, high):
        self.digest = {"SHA2-256-128": "sha256"}[name]
        self.icv_size, self.high = 16, high

    def sign(self, esp, key):
        esp.data += hmac.digest(key, bytes(esp) + self.high.to_bytes(4, "big"), self.digest)[: self.icv_size]
        return esp


def stream(label, n):
    """Bytes that look random and are the same every time."""
    return hashlib.shake_128(label.encode()).digest(n)


def inner(v6, size, label):
    body = Raw(stream("body " + label, size))
    if v6:
        return IPv6(src="2001:db8:1::10", dst="2001:db8:2::10", hlim=63, tc=0xB8) / UDP(sport=4000, dport=53) / body
    return IP(src="10.1.0.10", dst="10.2.0.10", ttl=63, id=7, flags="DF", tos=0x2A) / UDP(sport=4000, dport=53) / body


def outer(v6, seq, inner_pkt, df):
    if v6:
        return IPv6(src="2001:db8:f::1", dst="2001:db8:f::2", hlim=64, tc=inner_pkt.tc if IPv6 in inner_pkt else inner_pkt.tos)
    tos = inner_pkt.tc if IPv6 in inner_pkt else inner_pkt.tos
    return IP(src="192.0.2.1", dst="192.0.2.2", ttl=64, id=seq & 0xFFFF, tos=tos, flags="DF" if df else 0)


def build(suite, outer_v6, inner_v6, encap, seq, esn, size):
    cipher, key_len, salt_len, auth, auth_len = SUITES.get(suite) or PAIRS[suite]
    label = f"{suite} out{6 if outer_v6 else 4} in{6 if inner_v6 else 4}{' udp' if encap else ''}{' esn' if esn else ''} seq {seq:#x} {size} bytes"
    key, salt, akey = stream("key " + label, key_len), stream("salt " + label, salt_len), stream("auth " + label, auth_len)
    pkt = inner(inner_v6, size, label)
    args = {"crypt_algo": cipher, "crypt_key": key + salt} if cipher != "NULL" else {"crypt_algo": "NULL", "crypt_key": None}
    if auth:
        args.update(auth_algo=auth, auth_key=akey)
    if encap:
        args["nat_t_header"] = UDP(sport=4500, dport=4500, chksum=0)
    sa = SecurityAssociation(ESP, spi=0x1000_0021, tunnel_header=outer(outer_v6, seq, pkt, True), esn_en=esn, esn=seq >> 32, **args)
    if esn and auth:  # scapy 2.5 does not sign the high half of ESP's sequence number (RFC 4303 2.2.1)
        sa.auth_algo = SignsHighHalf(auth, seq >> 32)
    iv = seq.to_bytes(8, "big") if cipher in COUNTERS else stream("iv " + label, RANDOM.get(cipher, 0))
    kwargs = {"iv": iv} if iv else {}
    enc = sa.encrypt(pkt, seq_num=seq & 0xFFFFFFFF, esn_en=esn, esn=seq >> 32, **kwargs)
    if encap:  # scapy has fixed the lengths before it appends the payload
        del enc[UDP].len
        enc[UDP].chksum = 0
        if outer_v6:
            del enc[IPv6].plen
        else:
            del enc[IP].len, enc[IP].chksum
    return {
        "name": label, "suite": suite, "key": key.hex(), "salt": salt.hex(), "auth_key": akey.hex(), "spi": 0x1000_0021,
        "outer_v6": outer_v6, "inner_v6": inner_v6, "encap": encap, "esn": esn, "seq": seq,
        "clear": bytes(pkt).hex(), "protected": bytes(enc).hex(),
    }


def main():
    vectors = []
    for suite in SUITES:
        vectors.append(build(suite, False, False, False, 1, False, 64))
        vectors.append(build(suite, False, False, True, 2, False, 33))
    for suite in PAIRS:
        if suite not in SUITES:
            vectors.append(build(suite, False, False, False, 3, False, 41))
    for out6 in (False, True):
        for in6 in (False, True):
            for encap in (False, True):
                vectors.append(build("aes-128-gcm", out6, in6, encap, 77, False, 200))
                vectors.append(build("aes-256-cbc/sha256", out6, in6, encap, 78, False, 201))
    for seq in (0xFFFFFFFE, 0xFFFFFFFF, 0x100000001, 0x500000002):
        vectors.append(build("aes-256-gcm", False, False, False, seq, True, 50))
        vectors.append(build("chacha20poly1305", False, False, False, seq, True, 50))
        vectors.append(build("aes-256-cbc/sha256", False, False, False, seq, True, 50))
    for size in (0, 1, 2, 3, 4, 15, 16, 17, 1300):
        vectors.append(build("aes-128-gcm", False, False, False, 5, False, size))
        vectors.append(build("chacha20poly1305", False, False, False, 5, False, size))
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "esp.json")
    with open(path, "w") as f:
        json.dump({"note": "made by generate.py with scapy; see README.md", "vectors": vectors}, f, indent=1)
        f.write("\n")


main()
