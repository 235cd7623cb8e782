# Colab and kernels without pano_med: this installs it, once, in about a minute. Elsewhere it does nothing.
import importlib, subprocess, sys
from importlib import metadata, util


class PleaseRead(Exception):
    def _render_traceback_(self):  # Jupyter shows the sentence, and no lines of code around it
        return [str(self)]


def stop_if_numpy_was_swapped():
    loaded = getattr(sys.modules.get("numpy"), "__version__", None)
    if loaded and loaded != metadata.version("numpy"):
        raise PleaseRead("numpy was swapped under this kernel: restart it (menu Runtime or Kernel), then run this again.")


stop_if_numpy_was_swapped()
if util.find_spec("pano_med") is None:
    wanted = ["pano-med[lab] @ git+{repository}@{tag}"]
    # What the kernel has of these stays as it is: named with their versions, pip may not swap them.
    wanted += [f"{name}=={metadata.version(name)}" for name in ("numpy", "torch", "torchvision") if util.find_spec(name)]
    pip = subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *wanted], capture_output=True, text=True)
    if pip.returncode:
        raise PleaseRead(f"pano_med could not be installed. Is there an internet connection? pip says:\n{pip.stderr[-900:]}")
    importlib.invalidate_caches()
    stop_if_numpy_was_swapped()
