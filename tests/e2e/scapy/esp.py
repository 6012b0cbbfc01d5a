"""scapy's own ESP beside espway's: makes plain packets, seals them, opens sealed ones, compares.

usage: esp.py '[{"do": "make" | "seal" | "open" | "compare" | "echo" | "replies", ...}, ...]'; prints an answer to each
Captures hold Ethernet frames. An inner packet that a gateway forwarded has lost one hop; the comparison allows that
and nothing else.
"""
import json
import sys

from scapy.all import ARP, ESP, ICMP, IP, TCP, UDP, Ether, IPv6, Raw, SecurityAssociation, rdpcap, wrpcap
from scapy.layers.inet6 import ICMPv6EchoRequest

MACS = {"src": "02:00:00:00:00:01", "dst": "02:00:00:00:00:02"}


def make(job):
    """Lengths around every block and padding boundary, several protocols."""
    layer = IPv6 if ":" in job["src"] else IP
    head = layer(src=job["src"], dst=job["dst"])
    echo = ICMPv6EchoRequest(id=7, seq=1) if layer is IPv6 else ICMP(id=7, seq=1)
    packets = [head / echo / Raw(b"espway")]
    packets += [head / UDP(sport=4000, dport=5000) / Raw(bytes(range(n))) for n in range(0, 70)]
    packets += [head / TCP(sport=4000, dport=80, flags="S", seq=n) / Raw(b"x" * n) for n in (0, 511, 1300)]
    wrpcap(job["out"], [Ether(**MACS) / packet for packet in packets])
    return {"packets": len(packets)}


def echo(job):
    """An ARP request, from which the gateway learns who asks, and echo requests."""
    ask = Ether(src=MACS["src"], dst="ff:ff:ff:ff:ff:ff") / ARP(hwsrc=MACS["src"], psrc=job["src"], pdst=job["dst"])
    head = Ether(**MACS) / IP(src=job["src"], dst=job["dst"])
    wrpcap(job["out"], [ask] + [head / ICMP(id=9, seq=n) / Raw(b"espway") for n in range(job["count"])])
    return {"packets": job["count"]}


def replies(job):
    """The numbers of the echo replies in a capture that may still be written to."""
    frames = rdpcap(job["in"])
    good = [f for f in frames if ICMP in f and f[ICMP].type == 0 and f[ICMP].id == 9 and f[Ether].dst == MACS["src"]]
    arp = [f for f in frames if ARP in f and f[ARP].op == 2 and f[ARP].hwdst == MACS["src"]]
    return {"numbers": sorted(f[ICMP].seq for f in good), "arp": len(arp)}


def association(sa):
    outer = IPv6 if ":" in sa["src"] else IP
    nat = UDP(sport=4500, dport=4500) if sa.get("nat_t") else None
    return SecurityAssociation(
        ESP,
        spi=sa["spi"],
        seq_num=1,
        crypt_algo=sa["cipher"],
        crypt_key=bytes.fromhex(sa["key"]),
        auth_algo=sa.get("auth"),
        auth_key=bytes.fromhex(sa.get("auth_key", "")) or None,
        tunnel_header=outer(src=sa["src"], dst=sa["dst"]),
        nat_t_header=nat,
    )


def inner(frame):
    return frame[IPv6] if frame[Ether].type == 0x86DD else frame[IP]


def encrypt(sa, packet):
    sealed = sa.encrypt(packet)
    if sa.nat_t_header is not None:
        # scapy 2.5 leaves the length of an empty datagram in the UDP header.
        header = len(sealed) - len(sealed[UDP])
        raw = bytearray(bytes(sealed))
        raw[header + 4 : header + 6] = (len(raw) - header).to_bytes(2, "big")
        sealed = IP(bytes(raw))
    return sealed


def seal(job):
    sa = association(job["sa"])
    sealed = [Ether(**MACS) / encrypt(sa, inner(frame)) for frame in rdpcap(job["in"])]
    wrpcap(job["out"], sealed)
    return {"packets": len(sealed)}


def open_(job):
    sa = association(job["sa"])
    opened, numbers = [], []
    for frame in rdpcap(job["in"]):
        packet = inner(frame)
        numbers.append(packet[ESP].seq)
        opened.append(Ether(**MACS) / sa.decrypt(packet))  # raises when the ICV is wrong
    wrpcap(job["out"], opened)
    return {"packets": len(opened), "numbers": numbers}


def one_hop_less(packet):
    packet = packet.copy()
    if isinstance(packet, IPv6):
        packet.hlim -= 1
    else:
        packet.ttl -= 1
        del packet.chksum
    return packet


def compare(job):
    before = [bytes(one_hop_less(inner(frame))) for frame in rdpcap(job["before"])]
    after = [bytes(inner(frame)) for frame in rdpcap(job["after"])]
    different = [n for n, (b, a) in enumerate(zip(before, after)) if b != a]
    for n in different[:3]:
        print(f"{n}: {before[n].hex()} became {after[n].hex()}", file=sys.stderr)
    return {"before": len(before), "after": len(after), "different": different}


if __name__ == "__main__":
    verbs = {"make": make, "seal": seal, "open": open_, "compare": compare, "echo": echo, "replies": replies}
    print(json.dumps([verbs[task["do"]](task) for task in json.loads(sys.argv[1])]))
