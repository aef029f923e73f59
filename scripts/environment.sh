# Shared by the scripts beside it, to be read with `.` from the repository root: a virtual environment in .venv.

say() { printf '\n== %s\n' "$1"; }

make_environment() {
    .venv/bin/python -m pip --version >/dev/null 2>&1 && return
    rm -rf .venv
    for python in python3 python3.14 python3.13 python3.12 python3.11 python; do
        if "$python" -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            say "Making a virtual environment in .venv with $("$python" --version)"
            "$python" -m venv .venv && return
        fi
    done
    echo "No Python 3.11 or newer with the venv module was found: install one (on Debian: python3-venv)." >&2
    exit 1
}

# install_charlm WHAT [EXTRAS]: quick when everything is there already.
install_charlm() {
    say "Installing $1"
    if ! .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable ".${2:-}"; then
        echo "pip could not install $1; its message is above. Is there a network?" >&2
        exit 1
    fi
}

# is_installed MODULES: whether this clone's charlm and these modules are there, so that pip need not look.
is_installed() {
    .venv/bin/python -c "
import importlib.util, pathlib, sys
charlm = importlib.util.find_spec('charlm')
here = pathlib.Path('charlm').resolve()
there = charlm and charlm.origin and pathlib.Path(charlm.origin).parent.resolve() == here
installed = pathlib.Path(sys.prefix).rglob('charlm-*.dist-info')
sys.exit(not (there and any(installed) and all(importlib.util.find_spec(name) for name in sys.argv[1].split())))
" "$1" 2>/dev/null
}

# install_browser: for the tests that open pages in one; quick when it is there already.
install_browser() {
    for name in chromium chromium-browser google-chrome; do
        command -v "$name" >/dev/null 2>&1 && return
    done
    say "Installing Chromium"
    if [ "$(id -u)" != 0 ] || ! apt-get update -qq || ! DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium; then
        echo "No Chromium to open pages in, and it could not be installed: on Debian, apt-get install chromium as root." >&2
        exit 1
    fi
}
