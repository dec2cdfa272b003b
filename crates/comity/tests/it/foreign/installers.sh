# What the guide calls to build and install, for a test without network: each puts in place what
# `make tools` and cargo have brought already, and refuses what they have not.

cargo() {
    [ "$*" = "build --release" ]
    mkdir -p target/release
    ln -s "$COMITY_BIN" target/release/comity
}

npm() {
    case "$*" in
    install) "$TOOLS/node/node_modules/.bin/tsc" ;;
    "init --yes") echo '{"name": "my-app"}' >package.json ;;
    "install "*)
        shift
        mkdir -p node_modules
        for what in "$@"; do
            case "$what" in
            ../*) ln -s "$PWD/$what" node_modules/comity-client ;;
            *)
                [ -d "$TOOLS/node/node_modules/$what" ]
                ln -s "$TOOLS/node/node_modules/$what" "node_modules/$what"
                ;;
            esac
        done
        ;;
    *) return 1 ;;
    esac
}

python3() {
    [ "$1 $2" = "-m venv" ]
    mkdir -p "$3/bin"
    printf '#!/bin/sh\nPYTHONPATH=$(cat "%s/paths") exec "%s/python/bin/python" "$@"\n' "$PWD/$3" "$TOOLS" >"$3/bin/python"
    cat >"$3/bin/pip" <<'PIP'
#!/bin/sh -eu
[ "$1" = install ] && shift
for what in "$@"; do
    case "$what" in
    ../*) echo "$PWD/$what/src" >paths ;;
    *) "$TOOLS/python/bin/python" -c "import $what" ;;
    esac
done
PIP
    chmod +x "$3/bin/python" "$3/bin/pip"
}
