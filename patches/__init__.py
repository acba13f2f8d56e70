"""The patches, shipped as package data so that an installed wheel can build encoders too.

Every patch is insert-only with no context: it holds our own lines and the places they go, nothing of the encoder.
``ORIGINALS`` names the one tree each set of patches fits.
"""

from __future__ import annotations

ARCHIVES: dict[str, str] = {
    "hm-18.0": "c91b0f678cf8a77599cfcd72484c2ef1c10cbbf3850982fb7d43f2b54c3edfd8",
    "x264-0.164.3095": "8b237e94b08c196a1da22f2f25875f10be4cff3648df4eeff21e00da8f683fc2",
    "x264-0.164.3108": "41606cb8e788a7f8c4514290646d4ba5c7bc68d9e1ccd1a73f446a90546913eb",
    "x265-3.5": "e70a3335cacacbba0b3a20ec6fecd6783932288ebc8163ad74bcc9606477cae8",
    "x265-4.1": "85abb8a850000bf693947459c42a666a3ecd6de10a2ac6b3c6647554b14d3270",
}
"""SHA-256 of the upstream source archive."""

ORIGINALS: dict[str, dict[str, str]] = {
    "hm-18.0": {
        "source/Lib/TLibCommon/CommonDef.h": "004661ebaea0774290944f398e5aa37a5d99bd32b137dfecbdaccb61de5d9311",
    },
    "jm-19.1": {
        "source/app/lencod/CMakeLists.txt": "12b81ca39b8b38f3d34523c327fdeca48bdb85c0df0efa61a6142fb426be0320",
        "source/app/lencod/global.h": "dd210087f6913d3ab40d82fefa4a41354b80c467ddb8b339bdcc63a6ee6f0dfa",
        "source/app/lencod/configfile.c": "fd398a585093553706bbc4888239b7d726baca01a69d299572b52fa912ca874d",
        "source/app/lencod/lencod.c": "90b2316e1ba63b4b2eabcee013c1610757d30d7f8eb7ec2209d24911dad073c7",
        "source/app/lencod/slice.c": "799a4652cccd13b94344553a1f8c1ccbdef8c6d62cb827e847260f5ea7a5f2d8",
        "source/app/lencod/image.c": "64efbd7b6a6371c9eeebce10560e69614330a207fc26a000a06b5b711899d122",
        "source/app/lencod/lambda.c": "41840764c6d425b02215224e058e06256d30583ac1acd6389871b7f2bba8fe07",
        "source/app/lencod/macroblock.c": "155a4be6d20966820ed7313e24334d966e4d35034d061a16d31b354cd26f212d",
        "source/app/lencod/mode_decision.c": "8c870e51043a1b9858f7619b74b237ec18d8699a39b01322fb5d8d32d3bfb371",
        "source/app/lencod/rdopt.c": "1c4e809fc8f7d9974459fd3ecd8e4ec523f63f93235ea6055ef992ace877c199",
        "source/app/lencod/transform8x8.c": "d6834d2d8b8efeaffe874a485c7c8fc73fdd9a42d5123fa7df61062cb2b09997",
        "source/app/lencod/rd_intra_jm.c": "353d3c51082c44f28cced06ff3bc23ca875e8fd33ef6cd28c6d3d084ca958a5c",
        "source/app/lencod/quant4x4_trellis.c": "58afd425dd9eb21f6b70648a6f5c24b2494a4a6ad7816c804204e52668335829",
        "source/app/lencod/quant8x8_trellis.c": "46daa99a99512c394e7373b093e2364abfdf7e16ed1eabda22a12c9d33e7fed1",
        "source/app/lencod/quantChroma_trellis.c": "08cd67ae7e113eae80c450125566ed4a8d144ff4993a33092349e125136735ce",
        "source/app/lencod/rdoq.c": "3233f7d64e6bd4e9c6ac51a5173e1b9baf377bfa28c0901992d73ebab3c00ee6",
    },
    "x264-0.164.3095": {
        "version.sh": "a6eb228a8e4f37e543401bc871302b683551ca7e35efe271b3b79d945612af13",
        "encoder/ratecontrol.c": "dee92e4b966b3e11c1c3d0b404bdb4fd3e8d338bdc47c14b26b938de43bd73ed",
    },
    "x264-0.164.3108": {
        "version.sh": "c386106cf0ad74b1e3eb08a69efc82dd3fab454bd1bb65cce8249e748a78d873",
        "encoder/ratecontrol.c": "c03cb0025d983ceee142644ba4328da5c59f53f2bd0f83bd6225dbaa6a31f87c",
    },
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
    "x265-4.1": {
        "source/encoder/CMakeLists.txt": "df140dd2ffb274af47308cd8ecdff3f400c380cfd508e324a542f8ca30002c7b",
        "source/common/slice.h": "d85ac8381609d9081691cba520a7eed1d83404ffaaf88def4260e2d5cb886e70",
        "source/common/framedata.h": "9efc47ac221d7dbbdf7d53bdf47723e0fb140297eed4d3fb60e7f72342e2d7ec",
        "source/encoder/encoder.h": "7214baf87010b4a936f48777462a1391046b477c0dac45004d898fd546f25fd9",
        "source/encoder/encoder.cpp": "223d1003fdc4d0396d8120a3e51242626712d150f5dff2769021276cdb4c2df3",
        "source/encoder/frameencoder.cpp": "ff43f33cae55c45a8f622837239498710f3d1951b7159bac044c442d3b8e2dff",
        "source/encoder/entropy.cpp": "0911389b6831aea448e994c0f2a366c6b6f417b9f46c6049048dcc384a678a93",
        "source/encoder/analysis.cpp": "c7ca102c4253ad7e003c20864eddbd244476783b42785676b68ffa42f7718048",
        "source/encoder/search.h": "c96704e589c2160b4654a50378805cc1c0a45b4cf117fbaefd68af78a76b8ad7",
        "source/encoder/analysis.h": "ebbb0d1ebd32a260fb0bba798118f8f81b02fab45f42c3ab65e78d430680745e",
        "source/encoder/search.cpp": "de784c9a8ac24f3471c9a1a4280ab9286688df2073fb897f62d2f81fec8481f8",
        "source/common/quant.cpp": "8a57354cf1e143ae2f1bafd561fe22404951226e3742e63c5e845d42bddfa9b9",
        "source/x265cli.cpp": "c2d449b82ccbcbe6a78895b9be84f8b24dcbbaf3159e96a6ce2e1c7f61a9c21f",
    },
    "vvenc-1.14.0": {
        "source/Lib/CommonLib/Picture.h": "7cc8821565922242312c43a76b49200b092518ad470316fadccbb6e1904f1c7e",
        "source/Lib/CommonLib/RdCost.h": "7036566e5f126d1165d401a6756ff86ec766a53055e9d2fd148655d3820a1ce5",
        "source/Lib/CommonLib/RdCost.cpp": "6e8fc25e9aacefecbaf0fc7aa8138972b30795e874cc762bf33d5c11213dd692",
        "source/Lib/CommonLib/CodingStructure.h": "77a289f516ecdad2ec48544e9df4da64753ae48c28c58e975ec16a8ce666852a",
        "source/Lib/CommonLib/CodingStructure.cpp": "03f02670cb9268f05fae3fec8226c4e31f6c85fca69a3535a400a5224c869080",
        "source/Lib/CommonLib/Reshape.cpp": "5968c1b23da7761da2369baf271e8cb2ec244ec2ac0dbae24494944ff98edbe8",
        "source/Lib/EncoderLib/EncGOP.h": "0d76232b9c02d237d1af6c9ed8b34d0d09c5ce6abce0b36f894179d42faa8706",
        "source/Lib/EncoderLib/EncGOP.cpp": "5da7e6607e345e85adb2bfef33d51809a8191436624272d5a9f40a9f1252e614",
        "source/Lib/EncoderLib/EncPicture.cpp": "269a291f039fbe8dc47f67611aa728ab2610b9d78d782bd135931b8e29106c2e",
        "source/Lib/EncoderLib/EncCu.h": "c40d6f385bf3dce04e92888ceccd2674f1419b5020d9d63f55e04d6760ccba5e",
        "source/Lib/EncoderLib/EncCu.cpp": "45a1f4794e9e8e634d3e67e80a1ebfccc4d793cf573b514e8a36a42084597cea",
        "source/Lib/EncoderLib/IntraSearch.cpp": "893adc11ed8fbd6de3fd22f1c424bd89fa51edb56468792082f9d97495c82605",
        "source/Lib/EncoderLib/InterSearch.cpp": "aa796c742739e426b1289a669b3543aa60ce52942d5b79f5434113fb885f4e68",
        "source/Lib/vvenc/vvenc.cpp": "e065f549b2c81e850fe55f02ff8dbe906e2a07bd18228ad0092b86cf19c19f39",
        "source/Lib/EncoderLib/EncModeCtrl.h": "61ba72861ae67690dc40459abf45b6aa435bb4eb41cec37dd6e5f33a0bcf8425",
    },
}
"""SHA-256 of every file a set of patches touches, before patching; of files that tell the version where none is."""
