# shellcheck shell=bash
# Sourced by scripts (./deploy/run, ./deploy/release, ./deploy/package, ./tests/run) with their name as the argument: looks
# for Rust and installs missing tools from Debian's packages.

script=$1

# What the build calls, and the Debian package that has it. The caller may add more.
tools=(
    cc:build-essential
    make:build-essential
)

# The modules of Debian's Python that the caller needs, and the package that has each. Another Python
# may come first in PATH.
modules=()

# Files that the caller needs, and the package that has each.
files=()

# While this file says 101, no package that is installed starts its service.
policy=/usr/sbin/policy-rc.d
held=$policy.held

say() {
    printf '%s: %s\n' "$script" "$*" >&2
}

fail() {
    say "$*"
    exit 1
}

# Ends the script unless the cargo of Cargo.toml's rust-version or a later one is in PATH.
require_rust() {
    local wanted found
    wanted=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' "$1/Cargo.toml")
    type -P cargo >/dev/null ||
        fail "no cargo in PATH: install Rust $wanted or later (https://rustup.rs)," \
            "or add ~/.cargo/bin to PATH"
    found=$(cargo --version | cut -d ' ' -f 2)
    printf '%s\n' "$wanted" "$found" | sort --check=silent --version-sort ||
        fail "cargo is $found: install Rust $wanted or later (https://rustup.rs)"
}

# Tells the build which commit it is of, for `--version`: none without git, or without this repository.
name_commit() {
    local top
    if [[ -n ${GATEWAY_COMMIT-} ]]; then
        return
    fi
    if top=$(git -C "$1" rev-parse --show-toplevel 2>/dev/null) && [[ $top -ef $1 ]]; then
        GATEWAY_COMMIT=$(git -C "$1" describe --match= --always --abbrev=40 --dirty 2>/dev/null) || true
        export GATEWAY_COMMIT
    fi
}

# Installs those of `tools` that are not in PATH, those of `modules` that Python does not find, and
# those of `files` that are not there.
install_missing() {
    local tool module file programs=() packages=()
    for tool in "${tools[@]}"; do
        # Not `command -v`, which finds the shell's own kill.
        type -P "${tool%%:*}" >/dev/null || miss "$tool"
    done
    for module in "${modules[@]}"; do
        /usr/bin/python3 -Es -c "import ${module%%:*}" 2>/dev/null || miss "$module"
    done
    for file in "${files[@]}"; do
        [[ -e ${file%%:*} ]] || miss "$file"
    done
    if [[ ${#packages[@]} -eq 0 ]]; then
        say "all tools are here"
        return
    fi
    type -P apt-get >/dev/null ||
        fail "no apt-get here: install ${programs[*]} (Debian packages: ${packages[*]})"
    [[ $EUID -eq 0 ]] || type -P sudo >/dev/null ||
        fail "neither root nor sudo here: as root, run apt-get install ${packages[*]}"
    say "${programs[*]} not found: installing the Debian packages ${packages[*]}"
    local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -qq
        -o Acquire::Retries=3 -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0)
    trap release_services EXIT
    hold_services
    as_root "${apt[@]}" update </dev/null
    as_root "${apt[@]}" install --yes --no-install-recommends "${packages[@]}" </dev/null >/dev/null
    trap - EXIT
    release_services
    # Only the programs are wanted: no server shall start at the next boot either.
    disable prometheus prometheus.service
    disable nginx-light nginx.service
}

# Disables a service if its package has just been installed.
disable() {
    if [[ " ${packages[*]} " == *" $1 "* ]] && type -P systemctl >/dev/null; then
        as_root systemctl --quiet disable "$2" </dev/null >/dev/null 2>&1 || true
    fi
}

# Notes a program, module or file, and its package.
miss() {
    programs+=("${1%%:*}")
    if [[ " ${packages[*]} " != *" ${1#*:} "* ]]; then
        packages+=("${1#*:}")
    fi
}

as_root() {
    if [[ $EUID -eq 0 ]]; then
        "$@"
    else
        sudo "$@"
    fi
}

hold_services() {
    if [[ -e $policy && ! -e $held ]]; then
        as_root mv "$policy" "$held"
    fi
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
}

release_services() {
    as_root rm -f "$policy"
    if [[ -e $held ]]; then
        as_root mv "$held" "$policy"
    fi
}
