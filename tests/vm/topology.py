#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The PCI devices of the VM.

A card is QEMU's ivshmem-plain (1af4:1110): its BAR 2 is plain memory, our VRAM on a PCI bus. Its file on the host is shared
with the VM, an independent witness of what is in the VRAM. Peers are an NVMe disk and several of QEMU's edu (1234:11e8), which
has a DMA engine and an interrupt. A stranger (bochs-display, 1234:1111) has a BAR of memory too, and no driver. Card 0, the disk
and half of the DMA engines are below one switch, where one reaches the other; card 1 and the other engines have root ports of
their own, and the kernel refuses transfers between any two of these, and between them and what is below the switch:

    root ---- port 1 ---- switch ---- card 0 (chassis 2) / nvme / stranger / edu, 4 times
         \\--- port 2 ---- card 1
         \\--- port 3 to 6 ---- edu
"""

import contextlib
import os
import re
import shutil
import tempfile
from pathlib import Path

UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
CARDS = 2
STRANGER = "16M"
# DMA engines below the switch, and as many with root ports of their own. A transfer takes one 100 ms, however small it is.
ENGINES = 4


class TopologyError(ValueError):
    pass


def size(text):
    """Bytes of `256M`."""
    match = re.fullmatch(r"(\d+)([KMG]?)", text)
    if not match:
        raise TopologyError(f"not a size: {text} (256M is one)")
    return int(match.group(1)) * UNITS[match.group(2)]


class Topology:
    """cards: sizes in bytes of their VRAM, powers of two; none means no PCI devices beside QEMU's own."""

    def __init__(self, cards=(), disk=256 << 20):
        self.cards, self.disk = list(cards), disk
        if len(self.cards) not in (0, CARDS):
            raise TopologyError(f"{len(self.cards)} sizes for the cards, {CARDS} are needed")
        for bytes_ in self.cards:
            # A BAR has no other sizes, and QEMU's smallest is a page.
            if bytes_ < 4096 or bytes_ & (bytes_ - 1):
                raise TopologyError(f"a card of {bytes_} bytes: a BAR is a power of two, 4K or more")

    @contextlib.contextmanager
    def backing(self, folder):
        """QEMU's arguments; the files behind the devices live as long as the context."""
        if not self.cards:
            yield []
            return
        # Plain memory, wherever temporary files are.
        memory = Path(tempfile.mkdtemp(prefix="godwit-vm.", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else folder))
        try:
            yield self._arguments(memory)
        finally:
            shutil.rmtree(memory, ignore_errors=True)

    def _arguments(self, memory):
        with open(memory / "disk", "wb") as disk:
            disk.truncate(self.disk)
        arguments = []
        for number, bytes_ in enumerate(self.cards):
            arguments += ["-object", f"memory-backend-file,id=card{number},mem-path={memory}/card{number},size={bytes_},share=on"]
        devices = [
            "pcie-root-port,id=port1,chassis=1", "x3130-upstream,id=up,bus=port1",
            "xio3130-downstream,id=down1,bus=up,chassis=2,slot=1", "xio3130-downstream,id=down2,bus=up,chassis=3,slot=2",
            "xio3130-downstream,id=down3,bus=up,chassis=4,slot=3",
            "pcie-root-port,id=port2,chassis=5",
            "ivshmem-plain,memdev=card0,bus=down1", "ivshmem-plain,memdev=card1,bus=port2",
            "nvme,serial=godwit,drive=disk,bus=down2", f"bochs-display,vgamem={STRANGER},bus=down3",
        ]
        for number in range(ENGINES):
            devices += [
                f"xio3130-downstream,id=below{number},bus=up,chassis={10 + number},slot={10 + number}",
                f"pcie-root-port,id=beside{number},chassis={20 + number}",
                f"edu,bus=below{number},dma_mask=0xffffffffffffffff", f"edu,bus=beside{number},dma_mask=0xffffffffffffffff",
            ]
        arguments += ["-drive", f"file={memory}/disk,if=none,id=disk,format=raw"]
        for device in devices:
            arguments += ["-device", device]
        arguments += ["-fsdev", f"local,id=cards,path={memory},security_model=none,readonly=on",
                      "-device", "virtio-9p-pci,fsdev=cards,mount_tag=cards"]
        return arguments
