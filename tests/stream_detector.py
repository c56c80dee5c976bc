"""A detector that sends a series as DECTRIS Stream V2: `python stream_detector.py FOLDER COMPRESSION [FAULT]`.

It binds a free port, writes its address into FOLDER/address, and sends FOLDER/*.tiff in natural order. Its fault may be
`odd`: messages that are none between the images; `short`: half of the bytes in the first image; `large`: a message of
more than 512 MiB instead of the second image; `headless`: no start message.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import cbor2
import h5py
import hdf5plugin
import numpy as np
import tifffile
import zmq

TAGS = {"u1": 64, "u2": 69, "u4": 70}


def compressed(image: np.ndarray, algorithm: str) -> bytes:
    """The bytes as the HDF5 filter makes them, which are those of the stream."""
    filters: Any = hdf5plugin.Bitshuffle(cname="lz4") if algorithm == "bslz4" else hdf5plugin.LZ4()
    with tempfile.TemporaryDirectory() as folder, h5py.File(Path(folder, "a.h5"), "w") as file:
        dataset = file.create_dataset("a", data=image, chunks=image.shape, **filters)
        return bytes(dataset.id.read_direct_chunk((0,) * image.ndim)[1])


def array(image: np.ndarray, algorithm: str = "") -> cbor2.CBORTag:
    data: Any = image.tobytes()
    if algorithm:
        data = cbor2.CBORTag(56500, [algorithm, image.itemsize, compressed(image, algorithm)])
    return cbor2.CBORTag(40, [list(image.shape), cbor2.CBORTag(TAGS[image.dtype.str[1:]], data)])


def message(kind: str, **values: Any) -> bytes:
    return cbor2.dumps({"type": kind, "series_id": 7, "series_unique_id": "01GX-7", **values})


def image_message(number: int, image: np.ndarray, algorithm: str = "", **values: Any) -> bytes:
    data = {"threshold_1": array(image, algorithm), "threshold_2": array(image // 2, algorithm)}
    times = {"start_time": [number, 10], "stop_time": [number + 1, 10], "real_time": [1, 10]}
    return message("image", image_id=number, **{"data": data, **times, **values})


def send_large(socket: zmq.Socket[bytes]) -> None:
    """Send a message that the receiver ends the connection for, and wait until it does: what is sent before is lost."""
    with socket.get_monitor_socket(zmq.EVENT_DISCONNECTED) as losses:
        socket.send(bytes((1 << 29) + 1), copy=False)
        losses.recv_multipart()
        socket.disable_monitor()


def main(folder: Path, algorithm: str, fault: str) -> None:
    images = [tifffile.imread(path) for path in sorted(folder.glob("*.tiff"))]
    mask = np.zeros(images[0].shape, np.uint32)
    mask[:5] = 1
    with zmq.Context() as context, context.socket(zmq.PUSH) as socket:
        port = socket.bind_to_random_port("tcp://127.0.0.1")
        (folder / "part").write_text(f"tcp://127.0.0.1:{port}")
        (folder / "part").rename(folder / "address")
        masks = {name: array(mask, algorithm) for name in ("threshold_1", "threshold_2")}
        if fault != "headless":
            socket.send(message("start", number_of_images=len(images), pixel_mask=masks, channels=list(masks)))
        for number, image in enumerate(images):
            if fault == "odd":
                socket.send(b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff")
                socket.send(image_message(number, image)[:-100])
            if fault == "large" and number == 1:
                send_large(socket)
                continue
            short = {"data": {"threshold_1": array(image[::2])}} if fault == "short" and number == 0 else {}
            if short:
                short["data"]["threshold_1"].value[0] = list(image.shape)
            socket.send(image_message(number, image, algorithm, **short))
        socket.send(message("end"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2].replace("none", ""), "".join(sys.argv[3:]))
