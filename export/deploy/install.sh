#!/bin/sh
# Installs tinyedge and a bundle on this board, from the kit that contains this file. Needs no network, and root
# only for --service. A second run changes nothing. If it is interrupted, the previous installation keeps working.
#
#   DIR/envs/<lock>-<python>/   Python environments; a valid one contains the file `complete`; the last two are kept
#   DIR/env                     symbolic link to the one in use, replaced atomically
#   DIR/store/                  the bundles, and the link `current` (tinyedge activate)
#
# Only environments are removed, and only in a folder `envs` that this script made: it contains .tinyedge-envs.
#
# Exit codes: those of `tinyedge bench` (0 every limit is met, 3 one is exceeded, 4 inconclusive); 1 a known
# failure, the previous installation is unchanged; 2 invalid usage.
set -eu

usage() {
  cat <<'END'
usage: sh install.sh [--dir DIR] [--key PUBLIC] [--service] [--print-unit]

  --dir DIR      folder to install to (default: ~/tinyedge)
  --key PUBLIC   public key that must have signed the bundle
  --service      also install, enable and start the systemd service; the only step that needs root
  --print-unit   print the systemd unit that --service would install, and exit
END
}

fail() { # message, hint, exit code
  printf 'error: %s\nhint: %s\n' "$(printf %s "$1" | tr '\n' ' ')" "$2" >&2
  exit "${3:-1}"
}

say() { printf '== %s ==\n' "$1"; }

kit=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
dir=${HOME:-/root}/tinyedge key='' service='' only_unit=''
while [ $# -gt 0 ]; do
  case $1 in
    --dir | --key)
      [ -n "${2-}" ] || fail "$1 needs a value" "see: sh install.sh --help" 2
      case $2 in '~'*) fail "$1 $2: the shell did not replace ~" "write \$HOME, or omit the quotes" 2 ;; esac
      if [ "$1" = --dir ]; then dir=$2; else key=$2; fi
      shift
      ;;
    --service) service=yes ;;
    --print-unit) only_unit=yes ;;
    -h | --help) usage; exit 0 ;;
    *) fail "unknown option $1" "see: sh install.sh --help" 2 ;;
  esac
  shift
done
case $dir in /*) ;; *) dir=$(pwd -P)/$dir ;; esac
case $dir in # pip's scripts contain it in quotes
  *[\'\"\\\`\$]* | *"
"*) fail "--dir $dir has quotes, \\, \$ or a line break" "choose a simpler name" 2 ;;
esac

# --- the unit -------------------------------------------------------------------------------------------------

print_unit() { # the kit's unit, for this user and this folder
  case $dir in
    *[!A-Za-z0-9/._-]*) fail "--dir $dir has characters that a systemd unit cannot contain" "choose a simpler name" ;;
  esac
  user=$(id -un)
  sed -e "s|/home/pi/tinyedge|$dir|g" -e "s|^User=pi\$|User=$user|" "$kit/tinyedge.service"
}

if [ "$only_unit" ]; then
  print_unit
  exit 0
fi
if [ "$service" ]; then
  target=/etc/systemd/system
  unit=$(print_unit) || exit 1
  [ ! -e "$target/tinyedge.service" ] || grep -q '^Description=tinyedge: ' "$target/tinyedge.service" || \
    fail "$target/tinyedge.service is not from tinyedge" "rename it"
  [ "$(id -u)" -ne 0 ] || fail "the service runs as the user who installs it, and that is root" \
    "log in as an ordinary user who may use sudo"
  command -v systemctl >/dev/null || fail "--service needs systemd, which is not installed" "omit --service"
  sudo -n true 2>/dev/null || [ -t 0 ] || fail "sudo needs a password, and there is no terminal to enter it" \
    "run this on the board: sh $kit/install.sh --dir $dir --service"
fi

# --- checks of the kit ----------------------------------------------------------------------------------------

python=${PYTHON:-python3}
command -v "$python" >/dev/null || fail "$python is not installed" "sudo apt install python3"
[ "$("$python" -I -c 'print(6 * 7)' 2>/dev/null)" = 42 ] || fail "$python is not a working Python" "set PYTHON=python3"
# Prints the name of the environment for this kit and its pip, or fails with the reason why the kit cannot be
# installed.
found=$("$python" -I - "$kit" "$dir" <<'END'
import hashlib, json, os, re, shutil, stat, struct, sys, sysconfig

def fail(message, hint):
    sys.exit(f"error: {message}\nhint: {hint}")

kit, folder = sys.argv[1:]
sys.excepthook = lambda kind, failure, trace: print(
    f"error: {kit} is not a valid kit ({kind.__name__}: {failure})\nhint: copy the kit again", file=sys.stderr)
version = "%d.%d" % sys.version_info[:2]
if sys.version_info < (3, 11):
    fail(f"Python {version} is older than 3.11", "use Raspberry Pi OS bookworm or newer, or set PYTHON=python3.11")
try:
    import venv
except ImportError:
    fail("Python cannot create virtual environments", "sudo apt install python3-venv")
def is_regular(path):
    return stat.S_ISREG(os.lstat(path).st_mode)
def is_folder(path):
    return stat.S_ISDIR(os.lstat(path).st_mode)
try:
    for name in ("kit.json", "requirements.lock", "SHA256SUMS"):
        if not is_regular(f"{kit}/{name}"):
            raise OSError(f"{name} is not a regular file")
    with open(f"{kit}/kit.json") as file:
        about = json.load(file)
    with open(f"{kit}/requirements.lock", "rb") as file:
        lock = file.read()
    machine, pythons, packages = about["machine"], about["pythons"], about["packages"]
except (OSError, ValueError, KeyError) as failure:
    fail(f"{kit} is not a valid kit: {failure}", "copy the kit again")
here = sysconfig.get_platform().partition("-")[2]
if struct.calcsize("P") != 8:
    fail(f"this is a 32-bit system ({here})", "write the 64-bit Raspberry Pi OS to the card")
if here != machine:
    fail(f"the kit is for {machine}, but this machine is {here}", "make a kit for this machine over SSH: tinyedge deploy USER@HOST BUNDLE")
if version not in pythons:
    fail(f"the kit has no wheels for Python {version}, only for {', '.join(pythons)}",
         f"make a kit for this board: tinyedge deploy USER@HOST BUNDLE, or set PYTHON=python{pythons[0]}")
# Every file must be listed with its hash: nothing else in the kit is run or installed. Wheels may be missing:
# `tinyedge deploy` copies only those that the board needs. The bundle has a manifest of its own.
with open(f"{kit}/SHA256SUMS") as file:
    listed = {line[66:-1]: line[:64] for line in file}
found = set()
for parent, folders, names in os.walk(kit):
    if parent == kit and "bundle" in folders:
        folders.remove("bundle")
    for path in (os.path.join(parent, name) for name in folders + names):
        inside = os.path.relpath(path, kit)
        if is_folder(path) or inside == "SHA256SUMS":
            continue
        if not is_regular(path):
            fail(f"{kit} contains {inside!a}, which is not a regular file", "remove it, or copy the kit again")
        if inside not in listed:
            fail(f"{kit} contains {inside!a}, which SHA256SUMS does not list", "remove it, or copy the kit again")
        with open(path, "rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != listed[inside]:
                fail(f"{kit} is damaged: {inside!a} does not match SHA256SUMS", "copy the kit again")
        found.add(inside)
for name in sorted(listed.keys() - found):
    if not name.startswith("wheelhouse/"):
        fail(f"{kit} is damaged: {name!a} is missing", "copy the kit again")

# Only what tinyedge made is replaced or removed, and no link is followed.
environment = re.compile(r"[0-9a-f]{12}-py3\.[0-9]+")
def check(name, is_own):
    path = f"{folder}/{name}"
    if os.path.lexists(path) and not is_own(path):
        fail(f"{path} is not from tinyedge", "choose another --dir, or move it")
check("envs", is_folder)
check("env", lambda path: os.path.islink(path) and re.fullmatch("envs/" + environment.pattern, os.readlink(path)))
check(".env.tmp", os.path.islink)
check(".install.lock", is_regular)
check("envs/.tinyedge-envs", is_regular)
if os.path.isdir(f"{folder}/envs") and not os.path.exists(f"{folder}/envs/.tinyedge-envs"):
    for name in sorted(os.listdir(f"{folder}/envs")):  # made by an older version, or not by tinyedge
        check(f"envs/{name}", lambda path: environment.fullmatch(name) and is_folder(path))
if os.path.isdir(f"{folder}/store") and not os.path.exists(f"{folder}/store/.tinyedge-store"):
    for name in os.listdir(f"{folder}/store"):  # `tinyedge activate` checks the rest
        own = name in ("bundles", "current", "confirmed.json", ".lock", ".current.tmp")
        check(f"store/{name}", lambda path: own or name.startswith((".confirmed.json.", ".tinyedge-store.")))
name = f"{hashlib.sha256(lock).hexdigest()[:12]}-py{version}"
if not os.path.exists(f"{folder}/envs/{name}/complete"):
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    # 1.5 times the unpacked size: bytecode, and blocks that are partly used.
    needed = sum(package["unpacked"] for package in packages if version in package["pythons"]) * 3 // 2 >> 20
    free = shutil.disk_usage(folder).free >> 20
    if free < needed:
        fail(f"{folder} has {free} MB free; {needed} MB are required", "free some space, or choose another --dir")
pips = [name for name in found if re.fullmatch(r"wheelhouse/pip-[^/]+\.whl", name)]
print(name, *pips[:1])
END
) || exit 1
name=${found%% *} pip=$kit/${found#* }
case $name in
  *[!a-z0-9.-]* | '') fail "$python did not print the name of an environment" "set PYTHON to another Python" ;;
esac

# --- the environment ------------------------------------------------------------------------------------------

umask 022
mkdir -p "$dir/envs" 2>/dev/null || fail "$dir cannot be created" "choose another --dir"
exec 9>>"$dir/.install.lock"
flock -n 9 || fail "another install.sh is running in $dir" "wait until it ends"
[ -e "$dir/envs/.tinyedge-envs" ] || : >"$dir/envs/.tinyedge-envs"

env=$dir/envs/$name

give_up() { # message, hint
  rm -rf "$env"
  fail "$1" "${2:-see the messages above; copy the kit again, or free some space}"
}

give_up_pip() { # exit code
  [ "$1" -ne 137 ] || give_up "pip was killed: this board is out of memory" "stop other programs, or add swap"
  give_up "pip cannot install from the kit"
}

if [ -e "$env/complete" ]; then
  say "environment $name is installed already"
else
  [ -f "$pip" ] || fail "$kit has no wheel of pip" "copy the kit again"
  set -- "$kit"/wheelhouse/*.whl
  say "environment $name: installing $# wheels without a network"
  # Made under its final name, which its scripts contain; it is valid once `complete` exists.
  rm -rf "$env"
  # The kit has its own pip: Debian's python3 has neither pip nor ensurepip without python3-venv.
  "$python" -I -m venv --without-pip "$env" || give_up "Python cannot create a virtual environment"
  # Ignore this machine's configuration: Raspberry Pi OS adds an index in /etc/pip.conf.
  PIP_CONFIG_FILE=/dev/null "$env/bin/python" -I "$pip/pip" --isolated --quiet --disable-pip-version-check \
    --no-input --no-cache-dir install --no-index --find-links "$kit/wheelhouse" --require-hashes \
    --only-binary :all: --requirement "$kit/requirements.lock" || give_up_pip $?
  "$env/bin/tinyedge" --version >/dev/null || give_up "the new environment does not work"
  sync
  : >"$env/complete"
  sync
fi

# --- the bundle -----------------------------------------------------------------------------------------------

say "bundle"
set -- "$kit/bundle"
[ -z "$key" ] || set -- "$@" --key "$key"
"$env/bin/tinyedge" verify "$@"
"$env/bin/tinyedge" activate "$@" --store "$dir/store"

before=$(readlink "$dir/env" || :)
if [ "$before" != "envs/$name" ]; then
  ln -sfn "envs/$name" "$dir/.env.tmp"
  mv -fT "$dir/.env.tmp" "$dir/env"
  sync
  for old in "$dir"/envs/*; do
    case ${old##*/} in "$name" | "${before#envs/}") continue ;; esac
    # Only what this script makes: <lock>-<python>.
    if [ -d "$old" ] && [ ! -L "$old" ] && expr "${old##*/}" : '[0-9a-f]\{12\}-py3\.[0-9][0-9]*$' >/dev/null; then
      rm -rf "$old"
    fi
  done
fi

# --- the service ----------------------------------------------------------------------------------------------

if [ "$service" ]; then
  say "service"
  printf '%s\n' "$unit" | cmp -s - "$target/tinyedge.service" || \
    printf '%s\n' "$unit" | sudo install -m 644 /dev/stdin "$target/tinyedge.service"
  # RestartSteps= needs systemd 254: trixie has it, bookworm would warn about it.
  if [ "$(systemctl --version | sed -n '1s/^systemd \([0-9]*\).*/\1/p')" -ge 254 ]; then
    sudo install -D -m 644 "$kit/tinyedge-backoff.conf" "$target/tinyedge.service.d/backoff.conf"
  fi
  # shellcheck disable=SC2016 # the other shell expands it
  sudo sh -c 'umask 077; mkdir -p /etc/tinyedge; [ -s /etc/tinyedge/api-key ] || {
    head -c 24 /dev/urandom | base64 >/etc/tinyedge/.api-key && mv /etc/tinyedge/.api-key /etc/tinyedge/api-key; }'
  sudo systemctl daemon-reload
  sudo systemctl enable --quiet tinyedge.service
  sudo systemctl restart tinyedge.service || fail "the service does not start" "see its log: journalctl -u tinyedge"
  echo "tinyedge.service listens on http://127.0.0.1:8080; print its API key: sudo cat /etc/tinyedge/api-key"
elif systemctl is-active --quiet tinyedge.service 2>/dev/null; then
  echo "note: the service still runs the previous version; restart it: sudo systemctl restart tinyedge"
fi

# --- measurement ----------------------------------------------------------------------------------------------

say "doctor"
"$env/bin/tinyedge" doctor || echo "note: doctor found a problem; the measurement may be unreliable"
say "bench"
verdict=0
"$env/bin/tinyedge" bench "$dir/store/current" || verdict=$?
printf '\ninstalled; try: %s/env/bin/tinyedge generate %s/store/current --prompt "My sister"\n' "$dir" "$dir"
exit "$verdict"
