#!/bin/sh
# Puts tinyedge and a bundle on this board, from the kit that this file lies in. Needs no network, and no root
# but for --service. A second run changes nothing; interrupted anywhere, what was there goes on working.
#
#   DIR/envs/<lock>-<python>/   Python environments, whole where they hold `complete`; the last two stay
#   DIR/env                     the one in use: a symbolic link, replaced in one step
#   DIR/store/                  the bundles, and `current` (tinyedge activate)
#
# Exit codes: those of `tinyedge bench`, 0 the budget is kept, 3 not, 4 the samples cannot tell; 1 a known
# failure, before which nothing that worked was changed; 2 usage.
set -eu

usage() {
  cat <<'END'
usage: sh install.sh [--dir DIR] [--key PUBLIC] [--service] [--print-unit]

  --dir DIR      folder to install to (default: ~/tinyedge)
  --key PUBLIC   public key that must have signed the bundle
  --service      also install, enable and start the systemd service; the one step that asks for root
  --print-unit   print the systemd unit as --service would install it, and stop
END
}

fail() { # message, hint, exit code
  printf 'error: %s\nhint: %s\n' "$(printf %s "$1" | tr '\n' ' ')" "$2" >&2
  exit "${3:-1}"
}

say() { printf '== %s ==\n' "$1"; }

kit=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
dir=${HOME:-/root}/tinyedge key='' service='' print_unit=''
while [ $# -gt 0 ]; do
  case $1 in
    --dir | --key)
      [ $# -ge 2 ] || fail "$1 needs a value" "sh install.sh --help says what there is" 2
      if [ "$1" = --dir ]; then dir=$2; else key=$2; fi
      shift
      ;;
    --service) service=yes ;;
    --print-unit) print_unit=yes ;;
    -h | --help) usage; exit 0 ;;
    *) fail "$1 is not known" "sh install.sh --help says what there is" 2 ;;
  esac
  shift
done
case $dir in /*) ;; *) dir=$(pwd -P)/$dir ;; esac
case $dir in # pip's scripts name it in quotes
  *[\'\"\\\`\$]* | *"
"*) fail "--dir $dir has quotes, \\, \$ or a line break" "choose a plainer one" 2 ;;
esac

# --- the unit -------------------------------------------------------------------------------------------------

unit() { # the kit's, for this user and this folder
  case $dir in
    *[!A-Za-z0-9/._-]*) fail "--dir $dir has characters that a systemd unit cannot name" "choose a plainer one" ;;
  esac
  user=$(id -un)
  sed -e "s|/home/pi/tinyedge|$dir|g" -e "s|^User=pi\$|User=$user|" "$kit/tinyedge.service"
}

if [ "$print_unit" ]; then
  unit
  exit 0
fi
if [ "$service" ]; then
  [ "$(id -u)" -ne 0 ] || fail "--service runs as the user who installs it, which is root here" \
    "log in as an ordinary user, who may use sudo"
  command -v systemctl >/dev/null || fail "there is no systemd here, so no --service" "leave out --service"
  sudo -n true 2>/dev/null || [ -t 0 ] || fail "sudo asks for a password, and there is no terminal to ask on" \
    "run it on the board itself: sh $kit/install.sh --dir $dir --service"
fi

# --- is the kit for this board, and whole? --------------------------------------------------------------------

python=${PYTHON:-python3}
command -v "$python" >/dev/null || fail "$python is not there" "sudo apt install python3"
[ "$("$python" -I -c 'print(6 * 7)' 2>/dev/null)" = 42 ] || fail "$python is no Python that works" "PYTHON=python3"
# Says what is in the way, or the name of the environment that this kit makes.
name=$("$python" -I - "$kit" "$dir" <<'END'
import hashlib, json, os, shutil, struct, sys, sysconfig

def fail(message, hint):
    sys.exit(f"error: {message}\nhint: {hint}")

kit, folder = sys.argv[1:]
sys.excepthook = lambda kind, failure, trace: print(
    f"error: {kit} is not a whole kit ({kind.__name__}: {failure})\nhint: copy the kit again", file=sys.stderr)
version = "%d.%d" % sys.version_info[:2]
if sys.version_info < (3, 11):
    fail(f"Python {version} is older than 3.11", "use Raspberry Pi OS bookworm or newer, or PYTHON=python3.11")
try:
    import venv
except ImportError:
    fail("Python cannot make environments", "sudo apt install python3-venv")
try:
    with open(f"{kit}/kit.json") as file:
        about = json.load(file)
    with open(f"{kit}/requirements.lock", "rb") as file:
        lock = file.read()
    machine, pythons, packages = about["machine"], about["pythons"], about["packages"]
except (OSError, ValueError, KeyError) as failure:
    fail(f"{kit} is not a whole kit: {failure}", "copy the kit again")
here = sysconfig.get_platform().partition("-")[2]
if struct.calcsize("P") != 8:
    fail(f"this is a 32-bit system ({here})", "write the 64-bit Raspberry Pi OS to the card")
if here != machine:
    fail(f"the kit is for {machine}, this is {here}", "make one for this machine, over ssh: tinyedge deploy USER@HOST BUNDLE")
if version not in pythons:
    fail(f"the kit has no wheels for Python {version}, only for {', '.join(pythons)}",
         f"make one for this board: tinyedge deploy USER@HOST BUNDLE, or PYTHON=python{pythons[0]}")
name = f"{hashlib.sha256(lock).hexdigest()[:12]}-py{version}"
if not os.path.exists(f"{folder}/envs/{name}/complete"):
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    # Unpacked, and half as much again for bytecode and blocks.
    needed = sum(package["unpacked"] for package in packages if version in package["pythons"]) * 3 // 2 >> 20
    free = shutil.disk_usage(folder).free >> 20
    if free < needed:
        fail(f"{folder} has {free} MB free, {needed} MB are needed", "free some space, or choose another --dir")
print(name)
END
) || exit 1
case $name in
  *[!a-z0-9.-]* | '') fail "$python does not say what it is" "PYTHON names another one" ;;
esac
# Those of another Python may have been left out.
(cd "$kit" && sha256sum --check --quiet --strict --ignore-missing SHA256SUMS >/dev/null 2>&1) || \
  fail "$kit is damaged: a file is not what SHA256SUMS says" "copy the kit again"

# --- the environment ------------------------------------------------------------------------------------------

umask 022
mkdir -p "$dir/envs" 2>/dev/null || fail "$dir cannot be made" "choose another --dir"
exec 9>>"$dir/.install.lock"
flock -n 9 || fail "another install.sh is at work in $dir" "wait for it"

env=$dir/envs/$name

give_up() { # message
  rm -rf "$env"
  fail "$1" "look at what is said above; copy the kit again, or free some space"
}

if [ -e "$env/complete" ]; then
  say "environment $name is there"
else
  set -- "$kit"/wheelhouse/*.whl
  say "environment $name, from $# wheels, without a network"
  # By its final name, which its scripts have inside; it counts once `complete` is there.
  rm -rf "$env"
  # pip comes with the kit: Debian's python3 has none, and no ensurepip, without python3-venv.
  "$python" -I -m venv --without-pip "$env" || give_up "Python cannot make an environment"
  for pip in "$kit"/wheelhouse/pip-*.whl; do :; done
  # No configuration of this machine's: Raspberry Pi OS adds an index of its own in /etc/pip.conf.
  PIP_CONFIG_FILE=/dev/null "$env/bin/python" -I "$pip/pip" --isolated --quiet --disable-pip-version-check \
    --no-input --no-cache-dir install --no-index --find-links "$kit/wheelhouse" --require-hashes \
    --only-binary :all: --requirement "$kit/requirements.lock" || give_up "pip cannot install from the kit"
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
    case ${old##*/} in "$name" | "${before#envs/}") ;; *) rm -rf "$old" ;; esac
  done
fi

# --- the service ----------------------------------------------------------------------------------------------

if [ "$service" ]; then
  say "service"
  target=/etc/systemd/system
  unit >"$dir/.unit.tmp"
  cmp -s "$dir/.unit.tmp" "$target/tinyedge.service" || \
    sudo install -m 644 "$dir/.unit.tmp" "$target/tinyedge.service"
  rm -f "$dir/.unit.tmp"
  # RestartSteps= came with systemd 254: trixie has it, bookworm would warn of it.
  if [ "$(systemctl --version | sed -n '1s/^systemd \([0-9]*\).*/\1/p')" -ge 254 ]; then
    sudo install -D -m 644 "$kit/tinyedge-backoff.conf" "$target/tinyedge.service.d/backoff.conf"
  fi
  # shellcheck disable=SC2016 # for the other shell to expand
  sudo sh -c 'umask 077; mkdir -p /etc/tinyedge; [ -s /etc/tinyedge/api-key ] || {
    head -c 24 /dev/urandom | base64 >/etc/tinyedge/.api-key && mv /etc/tinyedge/.api-key /etc/tinyedge/api-key; }'
  sudo systemctl daemon-reload
  sudo systemctl enable --quiet tinyedge.service
  sudo systemctl restart tinyedge.service || fail "the service does not start" "journalctl -u tinyedge says why"
  echo "tinyedge.service serves on http://127.0.0.1:8080; its API key: sudo cat /etc/tinyedge/api-key"
elif systemctl is-active --quiet tinyedge.service 2>/dev/null; then
  echo "note: the service goes on with what it has loaded: sudo systemctl restart tinyedge"
fi

# --- the verdict ----------------------------------------------------------------------------------------------

say "doctor"
"$env/bin/tinyedge" doctor || echo "note: doctor found something bad; the measurement may not be true"
say "bench"
verdict=0
"$env/bin/tinyedge" bench "$dir/store/current" || verdict=$?
printf '\ninstalled; try: %s/env/bin/tinyedge generate %s/store/current --prompt "My sister"\n' "$dir" "$dir"
exit "$verdict"
