//! `#[remote]` and `#[remote_message]`.
//!
//! `#[remote]` on a function makes a value of the function's name with `remote(..)` and `options()`; on a struct or enum it
//! makes a handle and options, as visible as the type; on its `impl` block, `remote(..)`, `options()` and the handle's
//! methods. What is made is told in the documentation of the crate `actinic`.

use proc_macro::TokenStream;
use syn::{parse_macro_input, Item};

mod actor;
mod function;
mod message;
mod signature;

/// Makes a function remote, or a type a class of actors.
#[proc_macro_attribute]
pub fn remote(attributes: TokenStream, item: TokenStream) -> TokenStream {
    let arguments = parse_macro_input!(attributes as signature::Arguments);
    let expanded = match parse_macro_input!(item as Item) {
        Item::Fn(function) => function::expand(&arguments, function),
        Item::Impl(class) => actor::expand(class),
        Item::Struct(state) => actor::state(&Item::Struct(state.clone()), &state.vis, &state.ident, &state.generics),
        Item::Enum(state) => actor::state(&Item::Enum(state.clone()), &state.vis, &state.ident, &state.generics),
        other => {
            Err(syn::Error::new_spanned(other, "#[remote] goes on a function, a struct, an enum or an impl block"))
        }
    };
    expanded.unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Registers a message handler of a plain Actix actor: goes on `impl Handler<Message> for Actor`.
#[proc_macro_attribute]
pub fn remote_message(_attributes: TokenStream, item: TokenStream) -> TokenStream {
    let expanded = match parse_macro_input!(item as Item) {
        Item::Impl(handler) => message::expand(&handler),
        other => Err(syn::Error::new_spanned(
            other,
            "#[remote_message] goes on `impl Handler<Message> for Actor { … }`: it registers that actor for that message",
        )),
    };
    expanded.unwrap_or_else(syn::Error::into_compile_error).into()
}
