"""Where prompts that work live: write, try, rename and delete templates."""

import streamlit as st

from pages.parts import template_editing
from pages.parts.markdown import safe
from router import TemplatesBroken, shared_router

router = shared_router()
st.title("Templates", anchor=False)
st.caption(
    "`{prompt}` is where your prompt goes; another name in braces, such as `{language}`, becomes a field to fill in."
)

try:
    templates = router.templates.all()
except TemplatesBroken as error:
    st.error(safe(str(error)), title="The templates file cannot be read")
    st.caption("Mend the file in an editor, then try again. What you typed here is kept meanwhile.")
    st.button("Try again", icon=":material/refresh:")
    st.stop()

template_editing.offer_undo()
template_editing.confirm_deletion()
choosing, editing = st.columns([1, 2], gap="large")
with choosing:
    name = template_editing.choose(templates)
with editing:
    if name is None:
        template_editing.explain_nothing_yet()
    else:
        text = template_editing.edit(name, templates)
        template_editing.preview(name, text)
