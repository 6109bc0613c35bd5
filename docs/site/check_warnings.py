# SPDX-License-Identifier: Apache-2.0
"""Shows what Doxygen complained of: public names without a docstring, and docstrings that it does not understand.

usage: check_warnings.py <warnings.log>
"""
import pathlib
import sys

found = pathlib.Path(sys.argv[1]).read_text().strip()
if found:
    print(found)
    sys.exit("every public name of the headers needs a docstring (///), and Doxygen has to understand it")
