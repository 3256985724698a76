# Copyright 2026 The Kontain Eventing Authors
# SPDX-License-Identifier: Apache-2.0

import collections, datetime, decimal, hashlib, json, re, zlib
text = json.dumps({"a": [1, 2.5, None, True, "ü\n"], "b": {"c": list(range(5))}}, sort_keys=True, indent=1)
print(text, json.loads(text)["a"][4] == "ü\n")
print(hashlib.sha256(text.encode()).hexdigest(), zlib.crc32(zlib.compress(b"x" * 10000)))
print(collections.Counter(re.findall(r"\w", text)).most_common(3), decimal.Decimal(1) / 7)
print(datetime.date(2024, 2, 29) + datetime.timedelta(365))
