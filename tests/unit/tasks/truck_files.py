"""Files of trucks as UCI published them: licence, columns, trucks."""

import string

# The published file has 20 lines of licence, some blank, some with commas and brackets.
LICENCE = """\
This file is part of a data set.

Copyright (c) <2016> <the owner>

These data (a data set) are
free: line 6
line 7, with a comma
line 8, and another,
(at your option) line 9.

line 11,
line 12; and
line 13
line 14.

line 16
line 17.  If not, see <http://licences.example/>.

------------------------------------------------------------------------

"""
HISTOGRAMS = {"ag", "ay", "az", "ba", "cn", "cs", "ee"}


def published_names():
    letters = string.ascii_lowercase
    pairs = [a + b for a in "abcd" for b in letters if b != "w"] + [f"e{b}" for b in "abcdefg"]
    names = [
        f"{pair}_{bin_:03}" for pair in pairs for bin_ in range(10 if pair in HISTOGRAMS else 1)
    ]
    return [{"am_000": "am_0", "ec_000": "ec_00"}.get(name, name) for name in names]


NAMES = published_names()
HEADER = "class," + ",".join(NAMES)


def truck(label="neg", **replaced):
    cells = dict.fromkeys(NAMES, "0") | {"aa_000": "76698", "ac_000": "2130706438"}
    return ",".join([label, *(cells | replaced).values()])


def written(tmp_path, *lines, licence=LICENCE):
    file = tmp_path / "aps_failure_training_set.csv"
    file.write_text(licence + "".join(f"{line}\n" for line in lines))
    return file
