# The tour of the README up to a partner's session, in one go: to be read into a shell that has
# read demo.env. Sets SESSION_TOKEN, GRANT and ANA_TOKEN.

api() {
    bearer=$1 where=$2
    shift 2
    curl -sf "$COMITY$where" -H "Authorization: Bearer $bearer" -H "Content-Type: application/json" "$@"
}
pick() {
    tr '{,' '\n\n' | sed -n "s/^\"$1\":\"\([^\"]*\)\".*/\1/p" | sed -n 1p
}
sign_in() {
    api none /v1/sign-in -d "{\"email\": \"$1\", \"password\": \"$PASSWORD\"}" | pick token
}

SAM_TOKEN=$(sign_in sam@sailsupport.example)
ANA_TOKEN=$(sign_in ana@marina-bay.example)
TESS_TOKEN=$(sign_in tess@sailsupport.example)
REQUEST=$(api "$SAM_TOKEN" /v1/organisations/sailsupport/requests -d '{
    "customer_id": "'"$CUSTOMER_ID"'", "level": "partner", "modes": ["direct"], "reason": "Double bookings"
}' | pick id)
TERMS='{"roles": ["bookings"], "days": 7}'
HASH=$(api "$ANA_TOKEN" "/v1/requests/$REQUEST/summary" -d "$TERMS" | pick summary)
GRANT=$(api "$ANA_TOKEN" "/v1/requests/$REQUEST/approve" \
    -d '{"summary": "'"$HASH"'", "terms": '"$TERMS"'}' | pick grant)
api "$SAM_TOKEN" "/v1/grants/$GRANT/assignments/$TESS" -X PUT -d '{"roles": ["bookings"]}' >/dev/null
SESSION_TOKEN=$(curl -s "$COMITY/oauth/token" \
    -d grant_type=urn:ietf:params:oauth:grant-type:token-exchange \
    -d subject_token_type=urn:ietf:params:oauth:token-type:access_token \
    -d subject_token="$TESS_TOKEN" \
    -d audience=https://api.boats.example \
    -d resource="urn:comity:organisation:$MARINA" \
    -d grant="$GRANT" | pick access_token)
