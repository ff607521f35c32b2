"""A pretend accelerator: tensors say that they lie on another device, their numbers are computed on the CPU.

What a real one refuses is refused (an operation over tensors of two devices), and what a program waits for on it is
listed with the line of our code that waits. `install` changes torch for good, so a process of its own calls it.
"""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _device, backend_registration
from torch.utils._python_dispatch import TorchDispatchMode

# One of the names on which accelerate takes fp16 with a scaler; nothing else is meant by it.
NAME = "musa"
MEMORY_BYTES = 8_000_000_000
ROOT = Path(__file__).resolve().parents[2]
OURS = tuple(f"{ROOT / package}/" for package in ("styles", "training", "app"))
aten = torch.ops.aten
LISTS = (list, tuple)
COPIES = (aten._to_copy.default, aten.copy_.default)
# The host needs a number, or the size of a result: it waits until the device has come that far.
READS = {
    "_local_scalar_dense": "read",
    "equal": "read",
    "nonzero": "nonzero",
    "masked_select": "nonzero",
    "_unique2": "nonzero",
    "unique_dim": "nonzero",
}
# What CUDA's autocast computes in half precision, and what in fp32
# (https://docs.pytorch.org/docs/stable/amp.html, op-specific behavior), as far as these models use it.
AUTOCAST_HALF = (
    "linear", "conv2d", "_convolution", "convolution", "matmul", "mm", "bmm", "addmm", "baddbmm",
    "scaled_dot_product_attention",
)  # fmt: skip
AUTOCAST_FP32 = ("layer_norm", "group_norm", "native_layer_norm", "mse_loss")


class MixedDevices(RuntimeError):
    """An operation over tensors of two devices, or on another card than the one that was chosen."""


class Waits:
    """What the host waited for since the last `take`: (kind, file, function, line) and how often."""

    def __init__(self) -> None:
        self.seen: Counter[tuple[str, str, str, int]] = Counter()
        # The card that tensors may lie on; of two, no other is named and none is meant without a number.
        self.card = 0

    def add(self, kind: str) -> None:
        self.seen[(kind, *_place())] += 1

    def take(self) -> Counter[tuple[str, str, str, int]]:
        """Return them and begin anew."""
        seen, self.seen = self.seen, Counter()
        return seen


WAITS = Waits()


def place_name(waits: Mapping[tuple[str, str, str, int], int]) -> dict[str, int]:
    """Return them by kind, file and function, as a test names them: lines move."""
    named: Counter[str] = Counter()
    for (kind, file, function, _), times in waits.items():
        named[f"{kind} in {file}:{function}"] += times
    return dict(named)


class PretendTensor(torch.Tensor):
    """A tensor whose numbers are those of `host`, an ordinary tensor on the CPU."""

    host: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, host: Tensor, requires_grad: bool = False) -> PretendTensor:
        made: PretendTensor = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, host.size(), strides=host.stride(), storage_offset=host.storage_offset(), dtype=host.dtype,
            layout=host.layout, device=f"{NAME}:{WAITS.card}", requires_grad=requires_grad,
        )  # fmt: skip
        made.host = host
        return made

    @property
    def data(self) -> PretendTensor:  # type: ignore[override]
        return PretendTensor(self.host)

    @data.setter
    def data(self, value: PretendTensor) -> None:
        torch.Tensor.data.__set__(self, value)  # type: ignore[attr-defined]
        self.host = value.host

    def __getitem__(self, index: Any) -> Any:
        return torch.Tensor.__getitem__(self, _index(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        torch.Tensor.__setitem__(self, _index(index), value)

    def __repr__(self, *arguments: Any, **settings: Any) -> str:
        return f"PretendTensor({self.host})"

    @classmethod
    def __torch_dispatch__(cls, operation: Any, types: Any, arguments: Any = (), settings: Any = None) -> Any:
        return _run(operation, arguments, settings or {})


class _Mode(TorchDispatchMode):
    """Makes tensors on the pretend device, and sees the copies that begin on the CPU."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here, and skipping its frames takes a tenth of all the time

    def __torch_dispatch__(
        self, operation: Any, types: Any, arguments: Any = (), settings: Any = None
    ) -> Any:
        return _run(operation, arguments, settings or {})


@contextmanager
def pretend(card: int = 0) -> Iterator[Waits]:
    """Let the device be there for the time of the block; lends what is waited for."""
    WAITS.take()
    WAITS.card = card
    with _Mode():
        yield WAITS


def install() -> None:
    """Register the device in this process; to be called once, before anything of ours is imported."""
    backend_registration._setup_privateuseone_for_python_backend(NAME, backend_module=_Module())
    torch.accelerator.synchronize = lambda device=None: WAITS.add("synchronize")  # type: ignore[assignment]
    # As in a thread that didn't open the base: what names no card would mean the first.
    torch.accelerator.set_device_index = lambda device: None  # type: ignore[assignment]
    torch.accelerator.empty_cache = lambda: None  # type: ignore[assignment]
    torch.accelerator.get_memory_info = lambda device=None: (MEMORY_BYTES, MEMORY_BYTES)  # type: ignore
    torch.accelerator.memory_allocated = torch.accelerator.memory_reserved = lambda device=None: 0  # type: ignore
    nn.Module._apply = _apply  # type: ignore[assignment]
    _device._device_constructors()  # remembers torch's own makers before others stand in their places
    torch.tensor, torch.as_tensor = _brought(torch.tensor), _brought(torch.as_tensor)
    torch.Generator = _Generator  # type: ignore[assignment, misc]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch has rules of its own for the CPU's tensors under them
        _LIBRARIES.extend(_autocast_rules())
    import accelerate.accelerator

    # Else it would be CUDA's, which switches itself off here.
    accelerate.accelerator.get_grad_scaler = lambda _=None, **settings: torch.amp.GradScaler(  # type: ignore
        NAME, **settings
    )


class _Module(backend_registration._DummyBackendModule):
    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]

    def get_rng_state(self, *_: Any) -> Tensor:
        return torch.zeros(16, dtype=torch.uint8)

    def set_rng_state(self, *_: Any) -> None:
        """Numbers are drawn by the CPU's generators."""

    def synchronize(self, *_: Any) -> None:
        WAITS.add("synchronize")

    def device_count(self) -> int:
        return 2


def _is_pretended(device: Any) -> bool:
    return device is not None and torch.device(device).type == NAME


def _place() -> tuple[str, str, int]:
    """The innermost line of ours that is running, else of the tests."""
    frame: FrameType | None = sys._getframe(1)
    outside = ("?", "?", 0)
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(OURS) and frame.f_code.co_name not in ("wait_for", "sent_to"):
            return str(Path(file).relative_to(ROOT)), frame.f_code.co_name, frame.f_lineno
        if file.startswith(f"{ROOT}/tests/") and file != __file__ and outside[2] == 0:
            outside = (str(Path(file).relative_to(ROOT)), frame.f_code.co_name, frame.f_lineno)
        frame = frame.f_back
    return outside


def _index(index: Any) -> Any:
    if isinstance(index, list):
        WAITS.add("copy to the device")
        kind = torch.bool if index and isinstance(index[0], bool) else torch.long
        return PretendTensor(torch.tensor(index, dtype=kind))
    return tuple(map(_index, index)) if isinstance(index, tuple) else index


def _run(operation: Any, arguments: Any, settings: dict[str, Any]) -> Any:
    """Do an operation on the CPU, and say what a real device would have done with it."""
    tensors: list[torch.Tensor] = []
    _collect(arguments, tensors)
    if settings:
        _collect(settings.values(), tensors)
    pretended = [tensor for tensor in tensors if isinstance(tensor, PretendTensor)]
    asked_for = settings.get("device")
    there = bool(pretended) if asked_for is None else _is_pretended(asked_for)
    if not pretended and not there:
        return operation(*arguments, **settings)
    name = operation.overloadpacket.__name__
    if pretended:
        _check(operation, name, arguments, settings, tensors)
    if operation in COPIES:
        _copied(operation, arguments, settings, there)
    if name == "_fused_sdp_choice" and pretended:
        return 0  # attention by its own products
    real = dict(settings)
    if _is_pretended(asked_for):
        if torch.device(asked_for).index != WAITS.card:
            file, function, line = _place()
            raise MixedDevices(
                f"{name}: {asked_for}, not {NAME}:{WAITS.card}, at {file}:{line} in {function}"
            )
        real["device"] = torch.device("cpu")
    if real.get("pin_memory"):
        real["pin_memory"] = False
    result = operation(
        *_each(_host, arguments), **{name: _each(_host, value) for name, value in real.items()}
    )
    if operation is aten.copy_.default:
        return arguments[0]
    assert all(tensor.shape == tensor.host.shape for tensor in pretended), f"{name} has changed a shape"
    by_host = {id(tensor.host): tensor for tensor in pretended}

    def wrapped(value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or isinstance(value, PretendTensor):
            return value
        if id(value) in by_host:
            return by_host[id(value)]
        return PretendTensor(value) if there else value

    return _each(wrapped, result)


def _each(change: Callable[[Any], Any], value: Any) -> Any:
    """Change all that stands in lists and tuples; torch's own walk through trees takes a third of all the time."""
    if isinstance(value, LISTS):
        return type(value)([_each(change, one) if isinstance(one, LISTS) else change(one) for one in value])
    return change(value)


def _collect(values: Iterable[Any], tensors: list[torch.Tensor]) -> None:
    """Add the tensors that stand in lists and tuples."""
    for value in values:
        if isinstance(value, torch.Tensor):
            tensors.append(value)
        elif isinstance(value, LISTS):
            _collect(value, tensors)


def _host(value: Any) -> Any:
    return value.host if isinstance(value, PretendTensor) else value


def _check(
    operation: Any, name: str, arguments: Any, settings: dict[str, Any], tensors: list[torch.Tensor]
) -> None:
    """Raise MixedDevices for what a device refuses, and note what is read from it."""
    if name in READS:
        WAITS.add(READS[name])
    if name in ("index", "index_put", "index_put_", "_index_put_impl_"):
        for index in arguments[1] or ():
            if isinstance(index, torch.Tensor) and index.dtype in (torch.bool, torch.uint8):
                WAITS.add("nonzero")
            elif isinstance(index, torch.Tensor) and not isinstance(index, PretendTensor):
                WAITS.add("copy to the device")  # an index on the CPU is allowed, and brought over
        return
    if operation in COPIES or name in ("set_", "is_same_size") or settings.get("device") is not None:
        return
    # A single number on the CPU may stand beside tensors of any device.
    strangers = [
        tuple(tensor.shape) for tensor in tensors if not isinstance(tensor, PretendTensor) and tensor.dim()
    ]
    if strangers:
        file, function, line = _place()
        raise MixedDevices(f"{name}: {NAME} and cpu, {strangers} on the CPU, at {file}:{line} in {function}")


def _copied(operation: Any, arguments: Any, settings: dict[str, Any], there: bool) -> None:
    if operation is aten._to_copy.default:
        from_device, to_device = isinstance(arguments[0], PretendTensor), there
    else:
        from_device, to_device = (isinstance(arguments[place], PretendTensor) for place in (1, 0))
    if from_device == to_device:
        return
    non_blocking = settings.get("non_blocking", arguments[2] if len(arguments) > 2 else False)
    if from_device:
        WAITS.add("copy to the host")
    elif not non_blocking:
        WAITS.add("copy to the device")


def _brought(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Let a maker of tensors from numbers make them on the CPU first: it passes by every mode of dispatch."""

    def made(*arguments: Any, device: Any = None, **settings: Any) -> Tensor:
        if not _is_pretended(device):
            return make(*arguments, device=device, **settings)
        return make(*arguments, **settings).to(device)

    return made


def _apply(module: nn.Module, function: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
    """`nn.Module._apply` with new parameters: a tensor can't become one of another class in place."""
    if recurse:
        for child in module.children():
            child._apply(function)
    for name, parameter in module._parameters.items():
        if parameter is not None:
            with torch.no_grad():
                changed = function(parameter)
            if changed is not parameter:
                module._parameters[name] = nn.Parameter(changed, parameter.requires_grad)
    for name, buffer in module._buffers.items():
        if buffer is not None:
            module._buffers[name] = function(buffer)
    return module


_CpuGenerator = torch.Generator
_LIBRARIES: list[Any] = []  # torch forgets what a library has registered when that is gone


class _IsGenerator(type):
    def __instancecheck__(cls, value: Any) -> bool:
        return isinstance(value, _CpuGenerator)


class _Generator(metaclass=_IsGenerator):
    """A generator of any device draws what the CPU's draws, so that both have the same noise."""

    def __new__(cls, device: Any = "cpu") -> torch.Generator:  # type: ignore[misc]
        return _CpuGenerator("cpu" if _is_pretended(device) else device)


def _autocast_rules() -> list[Any]:
    """Autocast on the device as CUDA has it."""
    key = "AutocastPrivateUse1"
    others = torch.library.Library("_", "IMPL")
    others.fallback(torch.library.fallthrough_kernel, key)
    library = torch.library.Library("aten", "IMPL")
    keys = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastPrivateUse1)

    def rule(operation: Any, fp32: bool) -> Callable[..., Any]:
        def cast(*arguments: Any, **settings: Any) -> Any:
            dtype = torch.float32 if fp32 else torch.get_autocast_dtype(NAME)

            def fitted(value: Any) -> Any:
                takes = isinstance(value, torch.Tensor) and value.device.type == NAME
                takes = takes and value.is_floating_point() and value.dtype not in (torch.float64, dtype)
                return value.to(dtype) if takes else value

            with torch._C._ExcludeDispatchKeyGuard(keys):
                named = {name: _each(fitted, value) for name, value in settings.items()}
                return operation(*_each(fitted, arguments), **named)

        return cast

    for names, fp32 in ((AUTOCAST_HALF, False), (AUTOCAST_FP32, True)):
        for name in names:
            operation = getattr(aten, name).default
            library.impl(name, rule(operation, fp32), key)
    return [others, library]
