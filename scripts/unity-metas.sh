#!/usr/bin/env bash
# Unity ignores every file of a package that has no .meta beside it, and finds files by the GUIDs in them. This makes
# those that are missing, with a GUID that follows from the path, so that it is the same whoever makes it.
#
#   scripts/unity-metas.sh [--check]     (--check makes nothing and fails if one is missing or left over)
set -euo pipefail
. "$(dirname "$0")/lib.sh"

package="$REPO_ROOT/sdk-unity"
wrong=0

# Directories whose name ends in ~, and what begins with a dot, Unity does not look into.
assets() {
    cd "$package"
    find . -mindepth 1 \( -name '*~' -o -name '.*' -o -name '*.meta' \) -prune -o -print | sed 's|^\./||' | sort
}

importer() {
    case "$1" in
    *.cs) printf 'MonoImporter:\n  externalObjects: {}\n  serializedVersion: 2\n  defaultReferences: []\n  executionOrder: 0\n  icon: {instanceID: 0}\n' ;;
    *.asmdef) printf 'AssemblyDefinitionImporter:\n  externalObjects: {}\n' ;;
    *.jslib) printf 'PluginImporter:\n  externalObjects: {}\n  serializedVersion: 2\n  platformData:\n  - first:\n      WebGL: WebGL\n    second:\n      enabled: 1\n      settings: {}\n' ;;
    package.json) printf 'PackageManifestImporter:\n  externalObjects: {}\n' ;;
    *.md) printf 'TextScriptImporter:\n  externalObjects: {}\n' ;;
    *) printf 'DefaultImporter:\n  externalObjects: {}\n' ;;
    esac
}

while read -r asset; do
    meta="$package/$asset.meta"
    [ ! -e "$meta" ] || continue
    if [ "${1:-}" = --check ]; then
        say "$asset has no .meta"
        wrong=1
        continue
    fi
    guid="$(printf 'muster:%s' "$asset" | md5sum | cut -c 1-32)"
    {
        printf 'fileFormatVersion: 2\nguid: %s\n' "$guid"
        [ ! -d "$package/$asset" ] || printf 'folderAsset: yes\n'
        importer "$asset"
        printf '  userData: \n  assetBundleName: \n  assetBundleVariant: \n'
    } >"$meta"
done < <(assets)

while read -r meta; do
    [ -e "${meta%.meta}" ] && continue
    say "${meta#"$REPO_ROOT"/} is of a file that is not there; remove it"
    wrong=1
done < <(find "$package" -name '*.meta' -not -path '*~/*')
[ "$wrong" -eq 0 ] || die "the package's .meta files do not fit its files. Run scripts/unity-metas.sh and commit what it makes."
