"""The patches, shipped as package data so that an installed wheel can build encoders too.

Every patch is insert-only with no context: it holds our own lines and the places they go, nothing of the encoder.
``ORIGINALS`` names the one tree each set of patches fits.
"""

from __future__ import annotations

ARCHIVES: dict[str, str] = {
    "x265-3.5": "e70a3335cacacbba0b3a20ec6fecd6783932288ebc8163ad74bcc9606477cae8",
}
"""SHA-256 of the upstream source archive."""

ORIGINALS: dict[str, dict[str, str]] = {
    "x265-3.5": {
        "source/encoder/CMakeLists.txt": "df140dd2ffb274af47308cd8ecdff3f400c380cfd508e324a542f8ca30002c7b",
        "source/common/slice.h": "1a3b6c193d7de56a6659688eb225d14f866779f415b20ff06b7cd88df3583ca2",
        "source/common/framedata.h": "322e94e96d27e419bf37972ccbedd138fc89fe4f4d42ec439d6fb9fe1327a47a",
        "source/encoder/encoder.h": "02611dd695fefe9bcebaa6ac785f7b93fd7ceea8e262a12658cf243ae64357af",
        "source/encoder/encoder.cpp": "32f65d30e98bae8148f3fd012f8d6b1235bd53ff508ef04586b290c74674fb50",
        "source/encoder/frameencoder.cpp": "2eef572691accd0fde6092607bc4cc411fa1aa571829a0c4e709e9e373923a41",
        "source/encoder/entropy.cpp": "ca1133a0b25e2b482521a258a58913450596168a97744c92af055f31964c0ec8",
        "source/encoder/analysis.h": "06d1907c5d7574f1d1cc01eff9637214b6406fcd9d7e67fae87df25a2d6d9840",
        "source/encoder/analysis.cpp": "64acb3722a0615ff30560dbf9b25b847e2be2be2ed42ffc45cd363f0d3db9327",
        "source/encoder/search.h": "e9f40d508ba29b7f9910915740e6f5fae923aeea42ac53edc39f2d31402ea0da",
        "source/encoder/search.cpp": "150160db40adb29913816379af4a695a4b80dccc1e1c5a0ecd646ddbf4ee8d49",
        "source/common/quant.cpp": "aab6c75b89bcf197dd8dac8024913d21bab8b23f149d515e07948198fe6bf52b",
        "source/x265cli.cpp": "8d961544c381628a0cae62b3d72b04b5b3215e2935b745e80ccd98c7219d9a26",
    },
}
"""SHA-256 of every file a set of patches touches, before patching."""
