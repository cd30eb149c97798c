//! `#[remote_message]` on `impl Handler<M> for A`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, GenericArgument, ItemImpl, PathArguments, Result, Type};

pub(crate) fn expand(handler: &ItemImpl) -> Result<TokenStream> {
    let actor = &handler.self_ty;
    let message = message_of(handler)?;
    Ok(quote! {
        #handler

        impl ::actinic::__private::actix::Handler<::actinic::__private::Guarded<#actor, #message>> for #actor {
            type Result = ::actinic::__private::GuardedReply<#actor, #message>;

            fn handle(
                &mut self,
                __message: ::actinic::__private::Guarded<#actor, #message>,
                __ctx: &mut Self::Context,
            ) -> Self::Result {
                __message.handle(self, __ctx)
            }
        }

        ::actinic::__private::inventory::submit! {
            ::actinic::__private::RegisteredMessage {
                actor: || ::std::any::type_name::<#actor>(),
                message: || ::std::any::type_name::<#message>(),
            }
        }
    })
}

fn message_of(handler: &ItemImpl) -> Result<Type> {
    let wrong = || {
        Error::new_spanned(
            &handler.self_ty,
            "#[remote_message] goes on `impl Handler<Message> for Actor { … }`: it registers that actor for that message",
        )
    };
    let (_, path, _) = handler.trait_.as_ref().ok_or_else(wrong)?;
    let last = path.segments.last().filter(|segment| segment.ident == "Handler").ok_or_else(wrong)?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return Err(wrong()) };
    match arguments.args.first() {
        Some(GenericArgument::Type(message)) => Ok(message.clone()),
        _ => Err(wrong()),
    }
}
