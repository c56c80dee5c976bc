#compdef xrdpipe
# Completion of xrdpipe for zsh: eval "$(xrdpipe completion zsh)"
_xrdpipe() {
    local -a lines ended open ended_texts open_texts paths
    local line word text
    lines=("${(@f)$("${(Q)words[1]}" --complete zsh -- "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}")
    paths=(${=lines[1]:-none 0})
    for line in "${(@)lines[2,-1]}"; do
        word=${line%%$'\t'*}
        text=$word${${line#*$'\t'}:+  -- ${line#*$'\t'}}
        if [[ $word == *[=./,\[] ]]; then
            open+=("$word") open_texts+=("$text")
        elif [[ -n $word ]]; then
            ended+=("$word") ended_texts+=("$text")
        fi
    done
    (( $#ended )) && compadd -l -d ended_texts -a ended
    (( $#open )) && compadd -S '' -l -d open_texts -a open
    if [[ $paths[1] != none ]]; then
        (( paths[2] )) && compset -p $paths[2]
        if [[ $paths[1] == folders ]]; then _files -/; else _files; fi
    fi
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit -i }
compdef _xrdpipe xrdpipe
