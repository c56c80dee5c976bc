# Completion of xrdpipe for bash: eval "$(xrdpipe completion bash)"
_xrdpipe() {
    local each
    COMPREPLY=()
    while IFS= read -r each; do
        COMPREPLY+=("$each")
    done < <("$1" --complete bash "$COMP_WORDBREAKS" "$1" -- "${COMP_LINE:0:COMP_POINT}" 2>/dev/null)
}
complete -o default -o nospace -F _xrdpipe xrdpipe
